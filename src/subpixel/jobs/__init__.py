"""Many images: where each output goes, and a run over them. The caller hands in what enlarges."""
