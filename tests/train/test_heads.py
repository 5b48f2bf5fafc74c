import pytest
import torch
from torch import nn

from ml_images.train.heads import head_of
from ml_images.train.networks import build_network


@pytest.mark.parametrize(
    ("network", "head"),
    [
        ("resnet18", "fc"),
        ("densenet121", "classifier"),
        ("mobilenet_v3_small", "classifier.3"),
        ("squeezenet1_1", "classifier.1"),
        ("vit_b_16", "heads.head"),
        ("swin_t", "head"),
        ("inception_v3", "fc"),
        ("ml_images_resnet101", "fc"),
        ("cifar_net", "fc"),
        ("tiny_cnn", "fc"),
    ],
)
def test_the_head_is_the_layer_with_an_output_a_class(network: str, head: str) -> None:
    with torch.device("meta"):
        name, layer = head_of(build_network(network, 7))
    assert name == head
    assert (layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels) == 7
    assert layer.bias is not None
