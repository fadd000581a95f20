"""The commands of `throng-deploy`, a file each. What only one of them needs is imported in it: the
machine that serves has no torch, and need not have onnx.
"""
