"""Schedules and solvers, against the library diffusers and against what is known in closed form."""

import math
from itertools import pairwise

import diffusers
import numpy as np
import pytest
import torch

from engine.diffusion import FAINTEST, Schedule
from tests.tiny import seeded

LINEAR = {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0155}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
OPTIONS = {"linear": LINEAR, "cosine": COSINE}


def network(x, t):
    """Some smooth prediction of noise that depends on everything; torch only."""
    return 0.8 * x + 0.3 * torch.sin(3 * x + t.view(-1, 1, 1, 1) / 300)


def noise(rows=3, seed=0):
    return torch.randn(rows, 4, 8, 8, generator=seeded(seed))


def run(scheduler, x):
    """The loop of a diffusers pipeline."""
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t.expand(len(x))), t, x).prev_sample
    return x


# --- the schedule

@pytest.mark.parametrize("kind", OPTIONS)
def test_it_is_the_schedule_of_diffusers(kind):
    schedule = Schedule(kind)
    theirs = diffusers.DDPMScheduler(**OPTIONS[kind]).alphas_cumprod
    torch.testing.assert_close(schedule.signal**2, theirs, atol=1e-6, rtol=0)
    torch.testing.assert_close(schedule.noise**2, 1 - theirs, atol=1e-6, rtol=0)


def test_it_leaves_what_latent_diffusion_leaves():
    kept = Schedule().signal**2
    for t, expected in {0: 0.9985, 100: 0.829, 250: 0.535, 500: 0.150, 750: 0.0174, 999: 0.00067}.items():
        assert kept[t].item() == pytest.approx(expected, rel=5e-3)


def test_noise_is_added_and_taken_away():
    schedule, x, eps, t = Schedule(), noise(), noise(seed=1), torch.tensor([0, 300, 999])
    noised = schedule.noised(x, t, eps)
    for i, time in enumerate(t.tolist()):
        signal, strength = schedule.scales[time]
        torch.testing.assert_close(noised[i], signal * x[i] + strength * eps[i])
        assert signal**2 + strength**2 == pytest.approx(1)
    torch.testing.assert_close(schedule.clean(noised, t, eps), x, atol=1e-5, rtol=1e-5)


def test_a_change_of_eps_is_a_change_of_x_0():
    """x_0 by eps - noise g is x_0 by eps, plus (1 - kept) / sqrt(kept) g."""
    schedule, x, eps, g, t = Schedule(), noise(), noise(seed=1), noise(seed=2), torch.tensor([5, 300, 800])
    strength, kept = schedule.noise[t][:, None, None, None], (schedule.signal[t] ** 2)[:, None, None, None]
    moved = schedule.clean(x, t, eps - strength * g)
    torch.testing.assert_close(moved, schedule.clean(x, t, eps) + (1 - kept) / kept.sqrt() * g, atol=1e-5, rtol=1e-5)


def test_errors_are_weighted_by_their_time():
    schedule, eps, t = Schedule(), noise(1000), torch.arange(1000)
    snr = (schedule.signal / schedule.noise) ** 2
    error = schedule.error(eps + 0.5, eps, t)
    assert error.shape == (1000,) and error.mean().item() == pytest.approx(0.25, rel=1e-4)
    expected = snr**0.1 / (1 + snr)
    torch.testing.assert_close(error / error[500], expected / expected[500], rtol=1e-3, atol=1e-6)


def test_a_model_folder_holds_nothing_of_it():
    assert not Schedule().state_dict()


def test_a_grid_goes_evenly_from_noise_to_data():
    assert Schedule().grid(10) == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99, -1]
    assert Schedule().grid(1) == [999, -1] and Schedule().scale(-1) == (1, 0)
    cosine = Schedule("cosine")
    assert 990 < cosine.start < 999 and cosine.grid(4)[0] == cosine.start
    signal, strength = cosine.scale(cosine.start)
    assert signal / strength >= FAINTEST > cosine.scale(cosine.start + 1)[0] / cosine.scale(cosine.start + 1)[1]


# --- against diffusers

@pytest.mark.parametrize("steps", [1, 5, 10, 50])
@pytest.mark.parametrize("limit", [math.inf, 0.7])
def test_ddim_is_that_of_diffusers(steps, limit):
    clip = {"clip_sample": limit < math.inf, "clip_sample_range": limit}
    theirs = diffusers.DDIMScheduler(**LINEAR, **clip, timestep_spacing="trailing")
    theirs.set_timesteps(steps)
    torch.testing.assert_close(Schedule().ddim(network, noise(), steps, limit), run(theirs, noise()),
                               atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers, under NumPy 2
@pytest.mark.parametrize("steps", [1, 2, 5, 10, 50])
@pytest.mark.parametrize("kind", OPTIONS)
def test_the_second_order_solver_is_that_of_diffusers(kind, steps):
    theirs = diffusers.DPMSolverMultistepScheduler(
        **OPTIONS[kind], algorithm_type="dpmsolver++", solver_order=2, timestep_spacing="trailing",
        lambda_min_clipped=math.log(FAINTEST) if kind == "cosine" else -math.inf, final_sigmas_type="zero",
    )
    grid = Schedule(kind).grid(steps)[:-1]
    theirs.set_timesteps(steps)
    if kind == "linear":
        assert theirs.timesteps.tolist() == grid
    else:
        assert theirs.timesteps[0] == grid[0]  # then by steps of T / n, although it starts below T
        theirs.set_timesteps(timesteps=grid)
    expected = run(theirs, noise())
    size = max(1.0, expected.abs().max().item())  # cosine begins with hardly any signal to divide by
    torch.testing.assert_close(Schedule(kind).dpm(network, noise(), steps), expected, atol=1e-5 * size, rtol=0)


@pytest.mark.parametrize("steps", [5, 10, 50])
def test_inversion_is_that_of_diffusers(steps):
    theirs = diffusers.DDIMInverseScheduler(**LINEAR, clip_sample=False, timestep_spacing="trailing")
    theirs.set_timesteps(steps)
    assert theirs.timesteps.tolist() == Schedule().grid(steps)[-2::-1]
    torch.testing.assert_close(Schedule().invert(network, noise(), steps), run(theirs, noise()), atol=1e-5, rtol=1e-5)


# --- against what is known

def gaussian_network(schedule, deviation):
    """The right prediction for data of that standard deviation, in double precision."""
    signal, strength = (torch.tensor(schedule.scales, dtype=torch.float64).T)

    def predict(x, t):
        a, b = signal[t].view(-1, 1, 1, 1), strength[t].view(-1, 1, 1, 1)
        return b * x / ((a * deviation) ** 2 + b**2)

    return predict


def exact(schedule, x, deviation):
    """Where the flow carries noise if data is Gaussian: its scale changes and nothing else."""
    signal, strength = schedule.scales[schedule.start]
    return x * deviation / math.hypot(signal * deviation, strength)


def errors(solve, schedule, deviation):
    """Relative errors of 10, 20 and 40 steps."""
    x, predict = noise().double(), gaussian_network(schedule, deviation)
    truth = exact(schedule, x, deviation)
    return [((solve(predict, x, steps) - truth).norm() / truth.norm()).item() for steps in (10, 20, 40)]


def test_solvers_approach_the_flow_in_their_order():
    schedule = Schedule("cosine")
    first, second = errors(schedule.ddim, schedule, 1.0), errors(schedule.dpm, schedule, 1.0)
    for few, more in pairwise(first):
        assert few / more == pytest.approx(2, abs=0.2)
    for few, more in pairwise(second):
        assert few / more > 4
    assert second[0] < 0.2 * first[0]


@pytest.mark.parametrize("deviation", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", OPTIONS)
def test_the_second_order_is_worth_having(kind, deviation):
    schedule = Schedule(kind)
    first, second = errors(schedule.ddim, schedule, deviation), errors(schedule.dpm, schedule, deviation)
    assert all(b < a for a, b in zip(first, second, strict=True)) and second[2] < 0.07


def test_inversion_comes_back_the_more_nearly_the_more_it_is_corrected():
    schedule, x = Schedule(), 0.5 * noise().double()
    predict = gaussian_network(schedule, 0.5)
    off = []
    for corrections in (0, 1, 3, 8):
        start = schedule.invert(predict, x, 20, corrections)
        off.append((schedule.ddim(predict, start, 20) - x).abs().max().item())
    assert off == sorted(off, reverse=True) and off[-1] < 1e-3 * off[0]
    torch.testing.assert_close(exact(schedule, schedule.invert(predict, x, 200, 2), 0.5), x, rtol=0.05, atol=0.01)


def test_data_is_kept_within_its_limit():
    wild = lambda x, t: torch.zeros_like(x)  # noqa: E731
    for solve in (Schedule().ddim, Schedule().dpm):
        assert solve(wild, noise(), 4, 2.0).abs().max() == 2
        assert solve(wild, noise(), 4).abs().max() > 20


def test_a_solver_asks_once_a_step_and_for_all_rows_at_once():
    asked = []

    def noted(x, t):
        asked.append(t.tolist())
        return network(x, t)

    schedule = Schedule()
    for solve in (schedule.ddim, schedule.dpm):
        asked.clear()
        solve(noted, noise(2), 4)
        assert asked == [[t] * 2 for t in schedule.grid(4)[:-1]]
    asked.clear()
    schedule.invert(noted, noise(2), 4, corrections=1)
    assert asked == [[t] * 2 for t in np.repeat(schedule.grid(4)[-2::-1], 2)]
