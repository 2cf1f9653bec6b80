"""Profile, tier and level of H.265 (7.3.3)."""

from __future__ import annotations

from attrs import frozen

from penstock_formats.bits import BitReader


@frozen
class Profile:
    """The general profile_tier_level(); `compatibility` has flag 0 first, `constraints` the 48 bits after."""

    space: int
    tier: int
    idc: int
    compatibility: int
    constraints: int
    level: int

    @property
    def codecs(self) -> str:
        """What ISO 14496-15 E.3 puts after the sample entry's name: ``1.6.L93.B0``."""
        compatibility = int(f"{self.compatibility:032b}"[::-1], 2)
        constraints = self.constraints.to_bytes(6, "big").rstrip(b"\x00")
        parts = [
            f"{('', 'A', 'B', 'C')[self.space]}{self.idc}",
            f"{compatibility:X}",
            f"{'LH'[self.tier]}{self.level}",
            *(f"{byte:X}" for byte in constraints),
        ]
        return ".".join(parts)


def parse_profile(r: BitReader, sub_layers: int) -> Profile:
    """The general profile; those of the lower sub-layers are passed over."""
    profile = Profile(r.u(2), r.u(1), r.u(5), r.u(32), r.u(48), r.u(8))
    if sub_layers > 1:
        present = [(r.flag(), r.flag()) for _ in range(sub_layers - 1)]
        r.skip(2 * (9 - sub_layers))
        for has_profile, has_level in present:
            r.skip(88 * has_profile + 8 * has_level)
    return profile
