"""The client, written once, for asyncio. `../sync` is derived from it by `derive.py`."""
