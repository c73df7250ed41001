"""Nets that come from outside: ONNX files and functions of the user's own code, opened and recorded."""
