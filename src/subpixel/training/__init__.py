"""Folders of images in, a trained LR network out."""
