"""Whether the processor blurs its own energy counters (the mitigation of PLATYPUS, CVE-2020-8694 and CVE-2020-8695).

Where SGX is in use, Intel adds noise to what RAPL reports, so that no secret can be read from it. Intel speaks of up
to 50 % for single readings (as quoted by green-coding.io); averages over long windows keep their meaning.
"""

from __future__ import annotations

import os
from pathlib import Path

MSR = Path("/dev/cpu/0/msr")

MISC_PACKAGE_CTLS = 0xBC
"""IA32_MISC_PACKAGE_CTLS; its bit 0 is ENERGY_FILTERING_ENABLE (Intel SDM volume 4, table of IA32 registers)."""

FLAG = "energy_filtered"


def energy_filtered(msr: Path = MSR) -> bool | None:
    """Whether filtering is on; ``None`` if that cannot be seen (no such register, no ``msr`` driver, no permission)."""
    try:
        descriptor = os.open(msr, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        register = os.pread(descriptor, 8, MISC_PACKAGE_CTLS)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return bool(register[0] & 1) if len(register) == 8 else None
