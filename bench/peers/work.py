"""What every peer runs. Its workers import this module by name where they do not carry code by value."""


def same(value):
    return value


def sleep(seconds):
    import time  # here: some peers carry nothing but the function's own text

    time.sleep(seconds)
    return seconds
