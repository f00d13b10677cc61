"""Variants of images: `pool` is the port's adapter; everything that touches pixels runs in its worker processes."""
