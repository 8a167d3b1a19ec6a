# SPDX-License-Identifier: BSD-3-Clause
"""Random configurations of every function of cnnkern.functional, compared with PyTorch by test_torch_functions.py."""
