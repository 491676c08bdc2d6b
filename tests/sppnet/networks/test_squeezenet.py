"""SqueezeNet's layers beside torchvision's."""

from __future__ import annotations

import torch
from torchvision.models import squeezenet1_0

from sppnet.networks.squeezenet import squeezenet_features


def test_it_is_torchvisions() -> None:
    torch.manual_seed(3)
    expected = squeezenet1_0(weights=None).features
    after = torch.rand(4)
    torch.manual_seed(3)
    found = squeezenet_features()
    assert torch.equal(torch.rand(4), after)  # what is built next has the same weights too
    own, theirs = found.state_dict(), expected.state_dict()
    assert list(own) == list(theirs)
    assert all(torch.equal(own[name], theirs[name]) for name in own)
    images = torch.rand(1, 3, 70, 97)
    with torch.inference_mode():
        assert torch.equal(found(images), expected(images))
