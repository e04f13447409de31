"""Other systems beside ours, in one run: `python -m bench.peers`; a folder for each, with driver and pins."""
