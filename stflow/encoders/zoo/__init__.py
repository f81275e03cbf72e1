"""Encoders with published weights, one file each, so that a new one makes no features of another again."""
