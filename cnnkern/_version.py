# SPDX-License-Identifier: BSD-3-Clause
"""The one place that knows the version; the build reads it from here."""

__version__ = "0.1.0"
