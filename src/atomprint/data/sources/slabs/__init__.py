"""Slabs: crystals cut along a plane, with vacuum."""
