# SPDX-License-Identifier: BSD-3-Clause
"""Fast convolutional networks on the CPU: NumPy arrays in, NumPy arrays out."""
