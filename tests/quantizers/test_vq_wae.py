"""VQ-WAE: the transport cost against exact solvers, its bounds and gradients, a codebook far away, the claim."""

import pytest
import torch

from impl.benches import digits_autoencoder, mixture
from impl.quantizers.vq_vae import VectorQuantizer
from impl.quantizers.vq_wae import WassersteinVQ


def instance(**options):
    torch.manual_seed(0)
    return WassersteinVQ(3, 6, **{"epsilon": 1e-3, "iterations": 20_000, **options}).double().eval()


def vectors(count=12):
    return torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_the_cost_is_the_wasserstein_distance():
    ot = pytest.importorskip("ot")
    quantizer, given = instance(), vectors()
    with torch.no_grad():
        quantizer.weight_logits.copy_(torch.randn(6))
    costs = torch.cdist(given, quantizer.codebook.detach()).square()
    exact = ot.emd2(
        torch.full((12,), 1 / 12).double().numpy(), quantizer.weights.detach().numpy(), costs.numpy()
    )
    losses = quantizer(given).losses
    assert float(losses["transport"].detach()) == pytest.approx(1e-3 * exact, rel=5e-3)
    weights = quantizer.weights.detach()
    torch.testing.assert_close(losses["prior"].detach(), (weights * (6 * weights).log()).sum())


def test_the_cost_is_at_least_the_quantization_error_and_equal_for_the_codes_own_shares():
    quantizer, given = instance(), vectors(40)
    costs = torch.cdist(given, quantizer.codebook.detach()).square()
    error, shares = costs.amin(dim=1).mean(), torch.bincount(costs.argmin(dim=1), minlength=6) / 40
    assert (shares != 1 / 6).any() and (shares > 0).all()
    assert float(quantizer.transport_cost(given).detach()) > float(error) * 1.01
    with torch.no_grad():
        quantizer.weight_logits.copy_(shares.log())
    torch.testing.assert_close(quantizer.transport_cost(given).detach(), error, rtol=1e-3, atol=0)


def test_gradients_reach_latents_codewords_and_weights():
    """Those of the plan: 2 sum_k P_ik (z_i - c_k), its mirror, and the potential through softmax."""
    quantizer, given = instance(epsilon=0.05, iterations=2000), vectors().requires_grad_()
    parts = (given, quantizer.codebook, quantizer.weight_logits)
    found = torch.autograd.grad(quantizer.transport_cost(given), parts)
    ot = pytest.importorskip("ot")
    table, uniform = quantizer.codebook.detach(), torch.full((12,), 1 / 12, dtype=torch.float64)
    costs, weights = torch.cdist(given.detach(), table).square(), quantizer.weights.detach()
    reg = float(0.05 * costs.mean())
    plan, log = ot.sinkhorn(
        uniform.numpy(), weights.numpy(), costs.numpy(), reg, "sinkhorn_log", 5000, 1e-10, log=True
    )
    plan = torch.from_numpy(plan)
    differences = given.detach()[:, None] - table
    torch.testing.assert_close(found[0], 2 * (plan[..., None] * differences).sum(dim=1), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        found[1], -2 * (plan[..., None] * differences).sum(dim=0), atol=1e-6, rtol=1e-5
    )
    # POT scales by exp(g / reg) where this module has b exp(g / reg).
    potential = reg * (torch.as_tensor(log["log_v"]) - weights.log())
    expected = weights * (potential - (weights * potential).sum())
    torch.testing.assert_close(found[2], expected, atol=1e-6, rtol=1e-5)


def test_the_decoder_sees_the_nearest_codeword_and_passes_its_gradient_on():
    quantizer, given = instance(), vectors().requires_grad_()
    output = quantizer(given)
    nearest = torch.cdist(given, quantizer.codebook).argmin(dim=1)
    assert torch.equal(output.codes[:, 0], nearest)
    weights = torch.randn(12, 3, dtype=torch.float64)
    assert torch.equal(torch.autograd.grad((output.latents * weights).sum(), given)[0], weights)


def test_the_potential_is_kept_from_batch_to_batch_and_converges():
    given, costs = vectors(), []
    quantizer = instance(epsilon=0.1, iterations=2).train()
    for _ in range(100):
        costs.append(float(quantizer.transport_cost(given).detach()))
    solved = float(instance(epsilon=0.1, iterations=2000).transport_cost(given).detach())
    assert abs(costs[-1] - solved) < 1e-6 < abs(costs[0] - solved)
    before = quantizer.potential.clone()
    quantizer.eval()(given + 1)
    assert torch.equal(quantizer.potential, before)


def test_illegal_options_are_refused():
    with pytest.raises(ValueError, match="epsilon must be positive, got 0"):
        WassersteinVQ(4, 6, epsilon=0)
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        WassersteinVQ(4, 6, iterations=0)


@pytest.mark.claim
def test_fetches_a_codebook_from_a_far_corner():
    """64 codewords in one corner, latents fixed: transport spreads them out, the codebook loss moves one of them."""
    data, test = mixture("train")[:, :8], mixture("test")[:, :8]
    used = {}
    for name, make in (("transport", WassersteinVQ), ("loss", VectorQuantizer)):
        torch.manual_seed(0)
        quantizer = make(8, 64)
        with torch.no_grad():
            quantizer.codebook.copy_(10 + 0.1 * torch.randn(64, 8))
        optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.1)
        for step in range(200):
            optimizer.zero_grad()
            sum(quantizer(data[step * 256 % 9984 :][:256]).losses.values()).backward()
            optimizer.step()
        counts = torch.bincount(quantizer.eval().encode(test)[:, 0], minlength=64)
        used[name] = int((counts > 0).sum())
    assert used["transport"] > 38 and used["loss"] < 10


@pytest.mark.claim
@pytest.mark.long
def test_uses_more_codes_at_less_error():
    """At 64 codes on digits: more than twice the perplexity of plain VQ, and at least 10 % less error."""
    for seed in range(3):
        plain = digits_autoencoder(lambda: VectorQuantizer(8, 64), 500, seed)
        transported = digits_autoencoder(lambda: WassersteinVQ(8, 64), 500, seed)
        assert transported.bits == plain.bits
        assert transported.perplexity > 2 * plain.perplexity
        assert transported.error < 0.9 * plain.error
