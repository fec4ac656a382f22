"""Every image that comes in or goes out, window by window. The only decoder: start at `registry.open_raster`."""
