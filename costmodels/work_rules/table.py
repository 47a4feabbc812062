"""All rules by operator: ONNX's own operators, those that ONNX Runtime's optimiser makes, and TVM's fused functions."""

from __future__ import annotations

from collections.abc import Mapping

from .attention import ATTENTION
from .contractions import CONTRACTIONS, convolution, matrix_product
from .elementwise import ELEMENTWISE
from .movement import MOVEMENT
from .operands import Rule, one_for_each, per_output
from .reductions import REDUCTIONS
from .signals import SIGNALS
from .windows import WINDOWS

RULES: Mapping[str, Rule] = {
    **ELEMENTWISE,
    **MOVEMENT,
    **WINDOWS,
    **CONTRACTIONS,
    **ATTENTION,
    **REDUCTIONS,
    **SIGNALS,
}
#: Last parts of the domains whose operators mean what ONNX's operator of that name means: contributed ones, blocked
#: and channels-last layouts, classical models, previews.
_DOMAINS = frozenset({"microsoft", "nchwc", "nhwc", "ml", "preview", "training"})
TVM = "tvm"
_TVM_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "contrib_conv")
_TVM_PRODUCTS = ("dense", "matmul", "batch_matmul")
_TVM_MOVES = frozenset(
    "reshape transpose permute_dims concatenate strided_slice split squeeze expand_dims take gather broadcast_to pad "
    "layout_transform full zeros ones copy flip tile memory".split()
)


def domain_of(op: str) -> str:
    """The domain's last part in a kernel's operator, empty for ONNX's own."""
    return op.rpartition(".")[0] if "." in op else ""


def plain_name(op: str) -> str:
    """The operator without its domain: ``nchwc.Conv`` → ``Conv``; one of an unknown domain keeps its whole name."""
    domain, _, name = op.rpartition(".")
    return name if not domain or domain in _DOMAINS else op


def rule_of(op: str) -> Rule:
    """The rule of a kernel's operator; one operation for each element, and said to be assumed, where there is none."""
    if domain_of(op) == TVM:
        return _tvm_rule(op.partition(".")[2].split("+"))
    return RULES.get(op) or RULES.get(plain_name(op)) or Rule(one_for_each, "assumed")


def is_convolution(op: str) -> bool:
    """Whether a kernel's operator is a convolution forwards (not transposed), whatever is fused into it."""
    if domain_of(op) == TVM:
        return any(_is_tvm_convolution(step) for step in op.partition(".")[2].split("+"))
    return rule_of(op).operations is convolution


def _is_tvm_convolution(step: str) -> bool:
    return step.startswith(_TVM_CONVOLUTIONS) and "transpose" not in step


def _tvm_rule(steps: list[str]) -> Rule:
    """A function that TVM fused: its product by rule, one operation for each element by every other step."""
    if any(_is_tvm_convolution(step) for step in steps):
        return Rule(convolution)
    if any("conv" in step and "transpose" in step for step in steps):
        return RULES["ConvTranspose"]
    if any(step in _TVM_PRODUCTS for step in steps):
        return Rule(matrix_product)
    if any("pool" in step and "global" not in step and "adaptive" not in step for step in steps):
        return RULES["MaxPool"]
    computing = sum(step not in _TVM_MOVES for step in steps)
    return Rule(per_output(computing), "assumed") if computing else RULES["Transpose"]
