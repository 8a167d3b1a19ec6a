# SPDX-License-Identifier: BSD-3-Clause
# Called from `_augment` alone: nothing for Python.
