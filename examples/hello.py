"""Functions for `bursa run`: arguments are read by the signature and its annotations.

bursa run examples/hello.py::greet --name Ada
bursa run examples/hello.py::area 2.0 3.5
"""


def greet(name: str = "world") -> str:
    """Says hello, and on which machine."""
    return f"Hello, {name}!"


def area(width: float, height: float) -> float:
    """The area of a rectangle."""
    if width < 0 or height < 0:
        raise ValueError("a rectangle has no negative sides")
    return width * height
