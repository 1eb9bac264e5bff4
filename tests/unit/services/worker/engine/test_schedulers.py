"""Tables of coefficients against the diffusers classes that they were read off."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

from services.worker.engine import schedulers
from services.worker.engine.failures import SchedulerUnknown

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


def config_of(**changes):
    base = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}
    return DDIMScheduler(**base | {"steps_offset": 1} | changes).config


TABULATED = ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "lcm"]
CONFIGS = {
    "epsilon": config_of(),
    "velocity": config_of(prediction_type="v_prediction"),
    "velocity from pure noise": config_of(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    ),
}


@pytest.mark.parametrize("steps", [1, 4, 10, 20])
@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("name", TABULATED)
def test_a_table_steps_as_its_scheduler_does(name, kind, steps):
    table = schedulers.tabulate(name, CONFIGS[kind], steps)
    scheduler = schedulers.build(name, CONFIGS[kind])
    scheduler.set_timesteps(steps)
    draw, ours_noise, theirs_noise = (torch.Generator().manual_seed(seed) for seed in (1, 2, 2))
    x = torch.randn(1, 4, 8, 8, generator=draw) * table.start_scale
    mine, predicted = x.clone(), torch.zeros_like(x)
    for row, draws, timestep in zip(table.coefficients, table.draws_noise, scheduler.timesteps, strict=True):
        assert row[schedulers.TIMESTEP] == float(timestep)
        scaled = scheduler.scale_model_input(x, timestep)
        torch.testing.assert_close(mine * row[schedulers.SCALE], scaled, atol=1e-5, rtol=2e-6)
        output = torch.randn(x.shape, generator=draw)
        extra = {} if name == "ddim" else {"generator": theirs_noise}
        x = scheduler.step(output, timestep, x, **extra, return_dict=False)[0]
        noise = torch.randn(x.shape, generator=ours_noise) if draws else torch.zeros_like(x)
        before = mine
        mine = before * row[schedulers.X] + output * row[schedulers.E] + predicted * row[schedulers.M]
        predicted = before * row[schedulers.MX] + output * row[schedulers.ME]
        mine = mine + (before - predicted) / row[schedulers.SIGMA] * row[schedulers.DT]
        mine = mine + noise * row[schedulers.Z]
        torch.testing.assert_close(mine, x, atol=1e-5, rtol=2e-5)
    torch.testing.assert_close(mine, x, atol=1e-5, rtol=1e-5)


def test_only_a_scheduler_that_remembers_says_so():
    remembering = {name for name in TABULATED if schedulers.tabulate(name, CONFIGS["epsilon"], 10).remembers}
    assert remembering == {"dpmpp_2m"}


@pytest.mark.parametrize("change", [{"clip_sample": True}, {"thresholding": True}])
def test_a_scheduler_that_clips_has_no_table(change):
    assert schedulers.tabulate("ddim", config_of(**change), 10) is None


@pytest.mark.parametrize("name", [name for name in schedulers.CLASSES if name not in TABULATED])
def test_what_is_not_linear_or_remembers_more_has_no_table(name):
    assert schedulers.tabulate(name, CONFIGS["epsilon"], 10) is None


def test_a_solver_of_the_third_order_has_no_table():
    config = DPMSolverMultistepScheduler(solver_order=3).config
    assert schedulers.Tables(config).of("dpmpp_2m", 10) is None


FLOWS = {
    "shifted": ({"shift": 3.0}, {}),
    "by size": ({"use_dynamic_shifting": True}, {"mu": 0.9}),
    "by size, spaced": ({"use_dynamic_shifting": True}, {"mu": 0.6, "sigmas": (1.0, 0.75, 0.5, 0.25)}),
    "stochastic": ({"shift": 2.0, "stochastic_sampling": True}, {}),
}


@pytest.mark.parametrize("kind", FLOWS)
def test_a_table_of_a_flow_steps_as_its_scheduler_does(kind):
    config, schedule = FLOWS[kind]
    tables = schedulers.Tables(FlowMatchEulerDiscreteScheduler(**config).config, schedulers.FLOW_CLASSES)
    table = tables.of("flow_euler", 4, schedule)
    assert table.start_scale == 1.0
    scheduler = tables.build("flow_euler", 4, schedule)
    draw, ours_noise, theirs_noise = (torch.Generator().manual_seed(seed) for seed in (1, 2, 2))
    x = mine = torch.randn(1, 4, 8, 8, generator=draw)
    for row, draws, timestep in zip(table.coefficients, table.draws_noise, scheduler.timesteps, strict=True):
        assert row[schedulers.TIMESTEP] == float(timestep)
        output = torch.randn(x.shape, generator=draw)
        x = scheduler.step(output, timestep, x, generator=theirs_noise, return_dict=False)[0]
        noise = torch.randn(x.shape, generator=ours_noise) if draws else torch.zeros_like(x)
        mine = mine * row[schedulers.X] + output * row[schedulers.E] + noise * row[schedulers.Z]
        torch.testing.assert_close(mine, x, atol=1e-6, rtol=1e-6)


def test_tables_of_one_scheduler_differ_by_the_schedule():
    config = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True).config
    tables = schedulers.Tables(config, schedulers.FLOW_CLASSES)
    near, far = (tables.of("flow_euler", 4, {"mu": mu}) for mu in (0.5, 1.1))
    assert (near.coefficients != far.coefficients).any()


@pytest.mark.parametrize(("name", "schedule"), [("flow_heun", {"mu": 0.5}), ("ddim", {}), ("flow_euler", {})])
def test_what_a_flow_cannot_be_scheduled_with_is_told(name, schedule):
    config = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True).config
    with pytest.raises(SchedulerUnknown):
        schedulers.Tables(config, schedulers.FLOW_CLASSES).of(name, 4, schedule)


def test_a_table_is_made_once():
    tables = schedulers.Tables(CONFIGS["epsilon"])
    assert tables.of("euler", 5) is tables.of("euler", 5)
    assert isinstance(tables.of("euler", 5).coefficients, np.ndarray)


@pytest.mark.parametrize(("name", "steps"), [("dpm++", 4), ("lcm", 60)])
def test_what_cannot_be_scheduled_is_told(name, steps):
    with pytest.raises(SchedulerUnknown):
        schedulers.Tables(CONFIGS["epsilon"]).of(name, steps)
