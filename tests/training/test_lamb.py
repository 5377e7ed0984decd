import math

import pytest
import torch

from omnifeat.errors import SettingError
from omnifeat.training.lamb import Lamb


def step(weight: torch.Tensor, gradient: list[float], **settings: object) -> torch.Tensor:
    parameter = torch.nn.Parameter(weight.clone())
    optimizer = Lamb([{"params": [parameter], **settings}], lr=0.1, eps=1e-12)  # type: ignore[list-item]
    parameter.grad = torch.tensor(gradient, dtype=torch.float64)
    optimizer.step()
    return parameter.detach()


def test_golden_first_step() -> None:
    # w = (3, 4), g = (2, -1). After the bias correction m' = g and v' = g^2, so m' / sqrt(v') = (1, -1), of length
    # sqrt 2; |w| = 5; ratio 5 / sqrt 2. Step: w - 0.1 * (5 / sqrt 2) * (1, -1).
    moved = 0.1 * 5 / math.sqrt(2)
    result = step(torch.tensor([3.0, 4.0], dtype=torch.float64), [2.0, -1.0])
    torch.testing.assert_close(result, torch.tensor([3.0 - moved, 4.0 + moved], dtype=torch.float64))


def test_golden_first_step_with_weight_decay() -> None:
    # u = (1, -1) + 0.5 * (3, 4) = (2.5, 1), of length sqrt(7.25); ratio 5 / sqrt(7.25).
    ratio = 5 / math.sqrt(7.25)
    result = step(torch.tensor([3.0, 4.0], dtype=torch.float64), [2.0, -1.0], weight_decay=0.5)
    expected = torch.tensor([3.0 - 0.1 * ratio * 2.5, 4.0 - 0.1 * ratio * 1.0], dtype=torch.float64)
    torch.testing.assert_close(result, expected)


def test_golden_second_step() -> None:
    # One weight w = 2, gradients 1 then 3, betas (0.9, 0.999). One number: u / |u| is its sign and the ratio is |w| /
    # |u|, so each step moves w by 0.1 * |w| against the sign of m: 2 -> 1.8 -> 1.62.
    parameter = torch.nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = Lamb([parameter], lr=0.1)
    for gradient in (1.0, 3.0):
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    assert parameter.item() == pytest.approx(1.62, abs=1e-12)
    # m = 0.9 * 0.1 * 1 + 0.1 * 3 = 0.39; v = 0.999 * 0.001 * 1 + 0.001 * 9 = 0.009999
    assert optimizer.state[parameter]["exp_avg"].item() == pytest.approx(0.39)
    assert optimizer.state[parameter]["exp_avg_sq"].item() == pytest.approx(0.009999)


def test_zero_weights_take_the_adam_step() -> None:
    result = step(torch.zeros(2, dtype=torch.float64), [2.0, -1.0])
    torch.testing.assert_close(result, torch.tensor([-0.1, 0.1], dtype=torch.float64))


def test_group_without_adaptation_takes_the_adam_step() -> None:
    result = step(torch.tensor([3.0, 4.0], dtype=torch.float64), [2.0, -1.0], adapt=False)
    torch.testing.assert_close(result, torch.tensor([2.9, 4.1], dtype=torch.float64))


def test_state_goes_round() -> None:
    def run(resume_after: int | None) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        weight = torch.nn.Parameter(torch.ones(3, 2))
        optimizer = Lamb([weight], lr=0.05, weight_decay=0.01)
        for number in range(6):
            if number == resume_after:
                state = optimizer.state_dict()
                optimizer = Lamb([weight], lr=0.05, weight_decay=0.01)
                optimizer.load_state_dict(state)
            weight.grad = torch.randn(3, 2, generator=generator)
            optimizer.step()
        return weight.detach()

    torch.testing.assert_close(run(None), run(3), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "'lr' parameter of Lamb must not be negative"),
        ({"betas": (0.9, 1.0)}, "'betas' parameter of Lamb must lie in"),
        ({"eps": 0.0}, "'eps' parameter of Lamb must be positive"),
        ({"weight_decay": -0.1}, "'weight_decay' parameter of Lamb must not be negative"),
    ],
)
def test_wrong_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Lamb([torch.nn.Parameter(torch.ones(1))], **settings)  # type: ignore[arg-type]
