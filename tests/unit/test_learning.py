"""Of many customers always the same are drawn."""

from platform_assets.learning import drawn


def test_draws_are_even_and_always_the_same() -> None:
    draws = [drawn(f"u_{number}") for number in range(2000)]
    assert draws == [drawn(f"u_{number}") for number in range(2000)]
    assert all(0 <= each < 1 for each in draws)
    assert 900 < sum(each < 0.5 for each in draws) < 1100
