"""The object store behind one port: images, LoRA files and base-model files, by key.

`port.py` is the contract; `obstore.py` reaches S3-like stores and a local folder, `folder.py` makes the folder's writes
durable, `memory.py` is the twin that lives in the process. What keys mean is the services' affair.
"""

from imagineo.blobs.port import BlobInfo, Blobs

__all__ = ["BlobInfo", "Blobs"]
