"""The worker: runs function calls that its executor sends over a socket (docs/protocol.md, section 4).

It imports `bursa.serialize` and the standard library only, so any Python >= 3.8 can run it unpacked.
"""
