"""Response: the crossing of a pad row becomes a cluster; scalar bodies and launcher. Knows arrays and scalars only.

Primary ionisations are placed one by one along the path over the pads, so that charge, the share of a few large
ionisations, and the displacement of the centre of charge along an inclined track belong together as they do in gas.
"""

import math

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_jit import body, launcher
from o2dask.reco.tpc.simulation_random_kernels import gamma_variate, next_word, normal, quick_normal

__all__ = ["DEAD", "DONE", "LOST", "N_FATES", "OUTSIDE", "ionise", "respond", "respond_lane", "respond_lanes"]

DONE, LOST, OUTSIDE, DEAD, N_FATES = 0, 1, 2, 3, 4
"""What became of a hit: a cluster, below threshold, outside the timeframe, on a dead pad."""

FLAG_SPLIT_PAD, FLAG_SPLIT_TIME, FLAG_EDGE, FLAG_SINGLE = 1, 2, 4, 8
MAX_Q_MAX, MAX_Q_TOT = 1023, 25 * 1024 - 1
_SLOPE = 4.0
"""Steepest inclination whose charge is still one cluster."""
_MANY = 400.0
"""Mean number of primaries above which their sum is drawn from a normal distribution."""
_S52, _LOW12 = np.uint64(52), np.uint64(0xFFF)
_SQRT_HALF = math.sqrt(0.5)
_ROOT_2PI_INVERSE = 1.0 / math.sqrt(2.0 * math.pi)
_DIGIT_THRESHOLD = 2.0
"""Least charge of a digit [ADC] (zero suppression)."""


@body
def ionise(state, per_cm, length, par):
    """Ionise along `length` [cm]; return (state, electrons, their mean position along it in -0.5 to 0.5).

    One random word per primary: its low bits draw the gap to the last one, its high bits the electrons.
    """
    mean = per_cm * length
    if mean > _MANY:
        state, a, b = normal(state)
        second = par.variance_size + par.mean_size * par.mean_size
        n = max(mean * par.mean_size + a * math.sqrt(mean * second), 1.0)
        spread = math.sqrt(second / mean / 12.0) / par.mean_size
        return state, n, min(max(b * spread, -0.5), 0.5)
    n, moment, at = 0.0, 0.0, 0.0
    while True:
        state, word = next_word(state)
        at += float(par.gaps[word & _LOW12])
        if at >= mean:
            break
        size = float(par.sizes[word >> _S52])
        n += size
        moment += size * at
    return state, n, moment / (n * mean) - 0.5 if n > 0.0 else 0.0


@body
def _shares(offset, sigma):
    """Return the parts of a Gaussian of width `sigma` in the bin of width 1 it peaks in, and in the nearer neighbour.

    `offset` is the distance from the centre of the former bin.
    """
    scale = _SQRT_HALF / sigma
    offset = abs(offset)
    near = math.erf((0.5 - offset) * scale)
    return 0.5 * (near + math.erf((0.5 + offset) * scale)), 0.5 * (math.erf((1.5 - offset) * scale) - near)


@body
def _collect(hit, key, pad_row, roc, geo, par):
    """Return (state, electrons, y [cm], drift [cm], dy/dx, dz/dx): the charge that arrives and where, errors included.

    Inclination moves the centre of charge along the track, diffusion shares its error among the electrons, which the
    unequal gain makes fewer; electronics add a constant.
    """
    y, z, tan_y, tan_z = np.float64(hit[0]), np.float64(hit[1]), np.float64(hit[2]), np.float64(hit[3])
    steep = max(abs(tan_y), abs(tan_z)) / _SLOPE
    if steep > 1.0:
        tan_y, tan_z = tan_y / steep, tan_z / steep
    height = geo.pad_height[pad_row]
    length = height * math.sqrt(1.0 + tan_y * tan_y + tan_z * tan_z)
    state, n, along = ionise(key, par.primaries_per_cm * np.float64(hit[4]), length, par)
    drift = par.drift_length - abs(z)
    n *= math.exp(-par.attachment * drift / par.cm_per_time_bin * par.ns_per_time_bin * 1e-3)
    if n < 0.5:
        return state, 0.0, y, drift, tan_y, tan_z
    per_electron = math.sqrt(max(drift, 0.0) * (1.0 + par.gain_variance) / n)
    state, noise_a, noise_b = normal(state)
    state, noise_c, noise_d = normal(state)
    y += along * height * tan_y + par.diffusion_t * per_electron * noise_a + par.intrinsic_y[roc] * noise_b
    drift -= along * height * tan_z * (1.0 if z >= 0.0 else -1.0)
    drift += par.diffusion_l * per_electron * noise_c + par.intrinsic_z[roc] * noise_d
    return state, n, y, min(max(drift, 0.0), par.drift_length), tan_y, tan_z


@body
def _within_row(pad, last_pad, sigma):
    """Return where a cluster is measured, and the part of its charge that is: beyond the outermost pads is nothing.

    What is left of the Gaussian has its mean further inward: the truncated normal distribution's.
    """
    inside = min(pad, last_pad - pad)
    edge = (inside + 0.5) / sigma
    if edge > 4.0:
        return pad, 1.0
    kept = max(0.5 * (1.0 + math.erf(edge * _SQRT_HALF)), 1e-6)
    shift = max(sigma * _ROOT_2PI_INVERSE * math.exp(-0.5 * edge * edge) / kept, -inside)
    return pad + shift if pad < 0.5 * last_pad else pad - shift, kept


@body
def _flags(peak_pad, last_pad, next_pad, next_time, pads, times):
    """Return the flags of a cluster: its place in the row, charge of its neighbours, extent by inclination."""
    flags = FLAG_EDGE if peak_pad < 2.0 or peak_pad >= last_pad - 1.0 else 0
    if next_pad < _DIGIT_THRESHOLD or next_time < _DIGIT_THRESHOLD:
        flags |= FLAG_SINGLE
    if pads > 3.0:
        flags |= FLAG_SPLIT_PAD
    if times > 4.0:
        flags |= FLAG_SPLIT_TIME
    return flags


@body
def respond(hit, key, bucket, bc, t_collision, n_time_bins, geo, par):
    """Return (fate, time [1/64 bin], pad [1/64], sigma_pad, sigma_time [1/32], q_max, q_tot, flags) of one hit.

    `hit`: y, z, dy/dx, dz/dx, ionisation, time [ns]; `bucket`: sector * 152 + pad row; `bc` and `t_collision` [ns]:
    when its collision was.
    """
    sector, pad_row = bucket // 152, bucket % 152
    height, width, roc = geo.pad_height[pad_row], geo.pad_width[pad_row], geo.roc[pad_row]
    state, n, y, drift, tan_y, tan_z = _collect(hit, key, pad_row, roc, geo, par)
    if n <= 0.0:
        return LOST, 0, 0, 0, 0, 0, 0, 0
    time = (t_collision + np.float64(hit[5])) / par.ns_per_time_bin + drift / par.cm_per_time_bin
    time += np.float64(bc) / par.bc_per_time_bin
    if not 0.0 <= time < n_time_bins - 1.0 / 64:
        return OUTSIDE, 0, 0, 0, 0, 0, 0, 0
    # Widths: cloud, diffusion, inclination; the binning adds 1/12 to what is measured.
    spread_y = par.pad_response**2 + par.diffusion_t**2 * drift + (height * tan_y) ** 2 / 12.0
    spread_z = par.diffusion_l**2 * drift + (height * tan_z) ** 2 / 12.0
    sigma_pad = math.sqrt(spread_y) / width
    sigma_time = math.sqrt(par.shaper_width**2 + spread_z / par.cm_per_time_bin**2)
    # Pads of the C side count the other way.
    last_pad = geo.n_pads[pad_row] - 1.0
    pad, kept = _within_row(0.5 * last_pad + (y if sector < 18 else -y) / width, last_pad, sigma_pad)
    peak_pad, peak_time = math.floor(pad + 0.5), math.floor(time + 0.5)
    if geo.alive[sector, pad_row, int(peak_pad)] == 0:
        return DEAD, 0, 0, 0, 0, 0, 0, 0
    share_pad, next_pad = _shares(pad - peak_pad, sigma_pad)
    share_time, next_time = _shares(time - peak_time, sigma_time)
    # The charge: every electron is amplified by itself.
    state, gain = gamma_variate(state, n / par.gain_variance)
    q_tot = gain * par.gain_variance * par.adc_per_electron * kept
    state, noise_a = quick_normal(state)
    state, noise_b = quick_normal(state)
    state, noise_c = quick_normal(state)
    state, noise_d = quick_normal(state)
    q_max = q_tot * share_pad * share_time + par.noise_adc * noise_a
    if q_max < par.threshold_adc:
        return LOST, 0, 0, 0, 0, 0, 0, 0
    next_pad, next_time = q_tot * next_pad * share_time, q_tot * share_pad * next_time
    pads, times = height * abs(tan_y) / width, height * abs(tan_z) / par.cm_per_time_bin
    flags = _flags(peak_pad, last_pad, next_pad, next_time, pads, times)
    q_tot = max(q_tot + 3.0 * par.noise_adc * noise_b, q_max)  # about nine digits
    if q_max > MAX_Q_MAX:
        q_tot -= q_max - MAX_Q_MAX
        q_max = float(MAX_Q_MAX)
    blur = 1.0 / math.sqrt(max(n, 4.0))  # relative error of a width from n electrons, with gain
    width_pad = math.sqrt(sigma_pad**2 + 1.0 / 12.0) * max(1.0 + blur * noise_c, 0.2)
    width_time = math.sqrt(sigma_time**2 + 1.0 / 12.0) * max(1.0 + blur * noise_d, 0.2)
    return (
        DONE,
        int(time * 64.0 + 0.5),
        int(pad * 64.0 + 0.5),
        min(int(width_pad * 32.0 + 0.5), 255),
        min(int(width_time * 32.0 + 0.5), 255),
        int(q_max + 0.5),
        min(int(q_tot + 0.5), MAX_Q_TOT),
        flags,
    )


@body
def respond_lane(
    lane, n_hits, hits, keys, owners, collision, bc, t_collision, n_time_bins, geo, par, out, n_out, fates
):
    """Turn the hits of one lane into clusters at the front of its row in `out`."""
    n = 0
    for i in range(n_hits[lane]):
        mc, bucket = owners[lane, i, 0], owners[lane, i, 1]
        at = collision[mc]
        fate, time, pad, sigma_pad, sigma_time, q_max, q_tot, flags = respond(
            hits[lane, i], keys[lane, i], bucket, bc[at], np.float64(t_collision[at]), n_time_bins, geo, par
        )
        fates[lane, fate] += 1
        if fate == DONE:
            out.bucket[lane, n] = bucket
            out.time[lane, n] = time
            out.pad[lane, n] = pad
            out.sigma_pad[lane, n] = sigma_pad
            out.sigma_time[lane, n] = sigma_time
            out.q_max[lane, n] = q_max
            out.q_tot[lane, n] = q_tot
            out.flags[lane, n] = flags
            out.mc[lane, n] = mc
            n += 1
    n_out[lane] = n


@launcher
def respond_lanes(n_hits, hits, keys, owners, collision, bc, t_collision, n_time_bins, geo, par, out, n_out, fates):
    """Turn the hits of all lanes into clusters.

    The body is a function of its own: numba 0.68 loses what a parallel loop stores into arrays of a named tuple.

    `collision` (n_particles of MC,) int32, `bc` int64 and `t_collision` float32 [ns] (n_collisions,); `out`: arrays
    (n_lanes, capacity) bucket uint16, time uint32, pad uint16, sigma_pad, sigma_time uint8, q_max, q_tot uint16,
    flags uint8, mc int32; `n_out` (n_lanes,) int64; `fates` (n_lanes, N_FATES) int64 are added to.
    """
    for lane in prange(n_hits.shape[0]):
        respond_lane(
            lane, n_hits, hits, keys, owners, collision, bc, t_collision, n_time_bins, geo, par, out, n_out, fates
        )
