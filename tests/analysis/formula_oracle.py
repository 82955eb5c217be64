"""What O2's formulas give for one row, one step after the other in double precision: slow, and easy to check by eye.

Written from the formula texts of the data model, sharing nothing with `o2dask.analysis.formulas`. A function takes the
stored values of one row as attributes (`r.signed1Pt`) and what the caller gives.
"""

import math
import struct

ALMOST_0 = 1.175494351e-38
MASSES = {
    "El": 0.000510999,
    "Mu": 0.1056584,
    "Pi": 0.1395704,
    "Ka": 0.493677,
    "Pr": 0.9382721,
    "De": 1.87561294257,
    "Tr": 2.80892113298,
    "He": 2.80839160743,
    "Al": 3.7273794066,
}


def divide(a, b):
    if b == 0:
        return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)
    return a / b


def log(x):
    return math.log(x) if x > 0 else (-math.inf if x == 0 else math.nan)


def bit(value, i):
    return (int(value) >> i) % 2 == 1


def signed_bits(value, first, n):
    field = (int(value) & 0xFFFFFFFF) >> first & (2**n - 1)
    return field - 2**n if field >= 2 ** (n - 1) else field


# Barrel, MFT and forward tracks


def pt(r):
    curvature = abs(float(r.signed1Pt))
    return 1 / ALMOST_0 if curvature <= ALMOST_0 else 1 / curvature


def p(r):
    if abs(float(r.signed1Pt)) <= ALMOST_0:
        return 1 / ALMOST_0
    return pt(r) * math.sqrt(1 + float(r.tgl) ** 2)


def eta(r):
    # -ln(tan(pi/4 - atan(t)/2)) for |t|, where the tangent keeps its digits: tan(pi/4 - a/2) = (1 - sin a)/cos a
    t = abs(float(r.tgl))
    return math.copysign(log(math.sqrt(1 + t * t) + t), r.tgl)


def phi(r):
    if abs(r.snp) > 1:
        return math.nan
    angle = math.asin(r.snp) + float(r.alpha)
    return angle + 2 * math.pi if angle < 0 else angle - 2 * math.pi if angle >= 2 * math.pi else angle


def px(r):
    cosine = math.sqrt((1 - float(r.snp)) * (1 + float(r.snp)))
    return divide(cosine * math.cos(r.alpha) - float(r.snp) * math.sin(r.alpha), abs(float(r.signed1Pt)))


def py(r):
    cosine = math.sqrt((1 - float(r.snp)) * (1 + float(r.snp)))
    return divide(float(r.snp) * math.cos(r.alpha) + cosine * math.sin(r.alpha), abs(float(r.signed1Pt)))


def pz(r):
    return divide(float(r.tgl), abs(float(r.signed1Pt)))


def energy(r, m):
    return math.hypot(p(r), m)


def rapidity(r, m):
    z = pt(r) * float(r.tgl)
    e = math.sqrt(pt(r) ** 2 + z * z + m * m)
    return 0.5 * log((e + z) ** 2 / (pt(r) ** 2 + m * m)) if z >= 0 else -0.5 * log((e - z) ** 2 / (pt(r) ** 2 + m * m))


def sign(r):
    return 1 if r.signed1Pt > 0 else -1


BARREL = {
    "pt": pt,
    "p": p,
    "eta": eta,
    "phi": phi,
    "px": px,
    "py": py,
    "pz": pz,
    "pVector": lambda r: [px(r), py(r), pz(r)],
    "energy": energy,
    "rapidity": rapidity,
    "sign": sign,
    "isWithinBeamPipe": lambda r: abs(float(r.x)) < 1.6000000238418579,  # 1.6 as a float32
}
FORWARD = {
    "pt": pt,
    "p": p,
    "eta": eta,
    "sign": sign,
    "px": lambda r: pt(r) * math.cos(r.phi),
    "py": lambda r: pt(r) * math.sin(r.phi),
    "pz": lambda r: pt(r) * float(r.tgl),
}


def mft_n_clusters(r):
    return sum(any(bit(r.mftClusterSizesAndTrackFlags, 6 * layer + i) for i in range(6)) for layer in range(10))


# Covariances


def covariance_terms(state):
    terms = {}
    for i, row in enumerate(state):
        for column in state[: i + 1]:
            first, second = (row, column) if (row, column) != ("Y", "X") else ("X", "Y")
            name = "c1Pt21Pt2" if row == column == "1Pt" else f"c{first}{second}"
            terms[name] = lambda r, a=first, b=second: covariance(r, a, b)
    return terms


def covariance(r, a, b):
    product = float(getattr(r, f"sigma{a}")) * float(getattr(r, f"sigma{b}"))
    return product if a == b else int(getattr(r, f"rho{a}{b}")) / 128 * product


# Track extras


def detector_map(r, its):
    tof = r.tofChi2 >= 0 and r.tofExpMom > 0
    return 1 * bool(its > 0) + 2 * bool(r.tpcNClsFindable > 0) + 4 * bool(r.trdPattern > 0) + 8 * bool(tof)


def found(r):
    return int(r.tpcNClsFindable) - int(r.tpcNClsFindableMinusFound)


def crossed(r):
    return int(r.tpcNClsFindable) - int(r.tpcNClsFindableMinusCrossedRows)


def tof_time(r, mass):
    if r.tofExpMom <= 0:
        return -999
    return float(r.length) * math.sqrt(mass**2 + float(r.tofExpMom) ** 2) / (0.0299792458 * float(r.tofExpMom))


def tpc_time(r, half):
    if not bit(r.flags, 3):
        return ALMOST_0
    halves = struct.unpack("<HH", struct.pack("<f", r.trackTimeRes))
    return halves[half] / 128 * 8 * 10e9 / 400.789e6


def its_layers(r):
    return [layer for layer in range(7) if its_size(r, layer) > 0]


def its_size(r, layer):
    return (int(r.itsClusterSizes) // 16**layer) % 16


def extra(its, its_map):
    """Return the formulas of a version: `its` the column that says whether there is ITS, `its_map` its layers."""
    terms = {
        "detectorMap": lambda r: detector_map(r, getattr(r, its)),
        "hasITS": lambda r: getattr(r, its) > 0,
        "hasTPC": lambda r: r.tpcNClsFindable > 0,
        "hasTRD": lambda r: r.trdPattern > 0,
        "hasTOF": lambda r: r.tofChi2 >= 0 and r.tofExpMom > 0,
        "pidForTracking": lambda r: int(r.flags) // 2**28,
        "isPVContributor": lambda r: bit(r.flags, 1),
        "tpcNClsFound": found,
        "tpcNClsCrossedRows": crossed,
        "tpcCrossedRowsOverFindableCls": lambda r: divide(crossed(r), float(r.tpcNClsFindable)),
        "tpcFoundOverFindableCls": lambda r: divide(found(r), float(r.tpcNClsFindable)),
        "tpcFractionSharedCls": lambda r: divide(float(r.tpcNClsShared), found(r)),
        "itsNCls": lambda r: len(its_map(r)),
        "itsNClsInnerBarrel": lambda r: sum(layer < 3 for layer in its_map(r)),
    }
    return terms | {f"tofExpTime{code}": lambda r, m=m: tof_time(r, m) for code, m in MASSES.items()}


EXTRA_0 = extra("itsClusterMap", lambda r: [layer for layer in range(7) if bit(r.itsClusterMap, layer)])
EXTRA_1 = extra("itsClusterSizes", its_layers) | {
    "itsClusterMap": lambda r: sum(2**layer for layer in its_layers(r)),
    "itsClsSizeInLayer": lambda r, layer: its_size(r, layer),
    "isITSAfterburner": lambda r: bool(r.itsClusterSizes > 0) and r.itsChi2NCl < 0,
    "tpcDeltaTFwd": lambda r: tpc_time(r, 0),
    "tpcDeltaTBwd": lambda r: tpc_time(r, 1),
}

# Generated particles and collisions


def mc_p(r):
    return math.sqrt(float(r.px) ** 2 + float(r.py) ** 2 + float(r.pz) ** 2)


def mc_eta(r):
    # p - pz as pt^2/(p + pz) where pz > 0: the plain difference has no digits left far forward
    pt2, z = float(r.px) ** 2 + float(r.py) ** 2, float(r.pz)
    difference = pt2 / (mc_p(r) + z) if z > 0 else mc_p(r) - z
    if difference < 1e-7:
        return -100 if z < 0 else 100
    total = pt2 / (mc_p(r) - z) if z < 0 else mc_p(r) + z
    return 0.5 * (log(total) - log(difference)) if total > 0 else -math.inf


def mc_y(r):
    difference, total = float(r.e) - float(r.pz), float(r.e) + float(r.pz)
    if difference < 1e-7:
        return -100 if r.pz < 0 else 100
    return 0.5 * log(divide(total, difference))


def status(r, first, n):
    if bit(r.flags, 0):
        return -1
    is_packed = (int(r.statusCode) & 0xFFFFFFFF) >> 29 == 5
    return signed_bits(r.statusCode, first, n) if is_packed else int(r.statusCode)


MC_PARTICLE = {
    "pt": lambda r: math.hypot(float(r.px), float(r.py)),
    "p": mc_p,
    "phi": lambda r: math.pi + math.atan2(-float(r.py), -float(r.px)),
    "eta": mc_eta,
    "y": mc_y,
    "pVector": lambda r: [r.px, r.py, r.pz],
    "producedByGenerator": lambda r: not bit(r.flags, 0),
    "fromBackgroundEvent": lambda r: bit(r.flags, 1),
    "isPhysicalPrimary": lambda r: bit(r.flags, 2),
    "getGenStatusCode": lambda r: status(r, 9, 10),
    "getHepMCStatusCode": lambda r: status(r, 0, 9),
    "getProcess": lambda r: int(r.statusCode) if bit(r.flags, 0) else 0,
}
MC_COLLISION = {
    "getGeneratorId": lambda r: (int(r.generatorsID) & 0xFFFF) % 128,
    "getSourceId": lambda r: (int(r.generatorsID) & 0xFFFF) // 128 % 16,
    "getSubGeneratorId": lambda r: (int(r.generatorsID) & 0xFFFF) // 2048 - 1,
}

# Detectors


def positive_sum(values):
    return sum(float(v) for v in values if v > 0)


def zdc_first(values, channels, channel):
    return next((float(v) for v, c in zip(values, channels, strict=True) if c == channel), -math.inf)


def zdc():
    common = {"ZEM1": 12, "ZEM2": 13, "CommonZNA": 0, "CommonZNC": 14, "CommonZPA": 6, "CommonZPC": 20}
    terms = {}
    for name, channel in common.items():
        plain = name.removeprefix("Common")
        terms[f"energy{name}"] = lambda r, c=channel: zdc_first(r.energy, r.channelE, c)
        terms[f"time{plain}"] = lambda r, c=channel: zdc_first(r.time, r.channelT, c)
        terms[f"amplitude{plain}"] = lambda r, c=channel: zdc_first(r.amplitude, r.channelT, c)
    for name, first in {"ZNA": 1, "ZNC": 15, "ZPA": 7, "ZPC": 21}.items():
        channels = range(first, first + 4)
        terms[f"energySector{name}"] = lambda r, cs=channels: [zdc_first(r.energy, r.channelE, c) for c in cs]
    return terms


FT0 = {
    "posZ": lambda r: 29.9792458 * (float(r.timeC) - float(r.timeA)) / 2,
    "collTime": lambda r: (float(r.timeA) + float(r.timeC)) / 2,
    "isValidTimeA": lambda r: r.timeA < 30,
    "isValidTimeC": lambda r: r.timeC < 30,
    "isValidTime": lambda r: r.timeA < 30 and r.timeC < 30,
    "sumAmpA": lambda r: positive_sum(r.amplitudeA),
    "sumAmpC": lambda r: positive_sum(r.amplitudeC),
}

ORACLE = {
    "O2track": BARREL,
    "O2track_iu": BARREL,
    "O2mfttrack": FORWARD,
    "O2mfttrack_001": FORWARD
    | {"nClusters": mft_n_clusters, "isCA": lambda r: bit(r.mftClusterSizesAndTrackFlags, 60)},
    "O2fwdtrack": FORWARD,
    "O2trackcov": covariance_terms(("Y", "Z", "Snp", "Tgl", "1Pt")),
    "O2trackcov_iu": covariance_terms(("Y", "Z", "Snp", "Tgl", "1Pt")),
    "O2fwdtrackcov": covariance_terms(("X", "Y", "Phi", "Tgl", "1Pt")),
    "O2trackextra": EXTRA_0,
    "O2trackextra_001": EXTRA_1,
    "O2mcparticle": MC_PARTICLE,
    "O2mcparticle_001": MC_PARTICLE,
    "O2mccollision": MC_COLLISION,
    "O2mccollision_001": MC_COLLISION,
    "O2fwdtrkcl": {
        "deId": lambda r: int(r.clInfo) % 2048,
        "isGoodX": lambda r: bit(r.clInfo, 11),
        "isGoodY": lambda r: bit(r.clInfo, 12),
    },
    "O2cpvcluster": {
        "padMult": lambda r: int(r.clusterStatus) % 32,
        "moduleNumber": lambda r: 2 + int(r.clusterStatus) // 32 % 4,
        "isUnfolded": lambda r: bit(r.clusterStatus, 7),
    },
    "O2zdc_001": zdc(),
    "O2ft0": FT0,
    "O2v0_002": {
        "isStandardV0": lambda r: bit(r.v0Type, 0),
        "isPhotonV0": lambda r: bit(r.v0Type, 1),
        "isCollinearV0": lambda r: bit(r.v0Type, 2),
    },
}
