"""The dataset format: paired images in Zarr v3, tables of pairs, rejected items and sources, and a manifest.

STORE/current                     names the current version
STORE/versions/<digest>/          manifest.json  pairs.parquet  rejected.parquet  sources.parquet
                                  buckets/NNNNN.json (commit records)
                                  {train,val,test}/{input,target}: zarr arrays (N, H, W, C), a pair a chunk
"""

from p2p_core.pairstore.reader import PairSplit, PairStore
from p2p_core.pairstore.schema import PairRecord, RejectedRecord
from p2p_core.pairstore.verify import verify_store

__all__ = ["PairRecord", "PairSplit", "PairStore", "RejectedRecord", "verify_store"]
