"""Where a net's cost lies, layer by layer, by several models at once; and whether the models agree on nets."""
