"""The API's shapes, generated from its document by `derive.py`: answers are objects, requests are dicts."""
