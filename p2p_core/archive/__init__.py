"""Any raster through a model, block by block: plan, translate, commit, verify, export."""
