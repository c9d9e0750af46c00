"""How parameters are addressed by path: parts for freezing and learning rates, mesh axes.

One table serves every family, since they name their parts and layers alike.
"""

from collections.abc import Iterable

# A parameter's path in `nnx.split(model)[1]`, joined with "/": "llm/layers/q/kernel".
_COMPONENTS = {"visual": "tower", "merger": "projector", "llm": "llm"}

PartitionRule = tuple[str, tuple[str | tuple[str, ...] | None, ...]]


def component_of(path: str | Iterable[object]) -> str:
    """The part of the model that a parameter belongs to: "tower", "projector" or "llm".

    Args:
        path: "llm/norm/scale", or its pieces.

    Raises:
        ValueError: a path that does not begin with a part of the model.
    """
    pieces = path.split("/") if isinstance(path, str) else [str(piece) for piece in path]
    if not pieces or pieces[0] not in _COMPONENTS:
        raise ValueError(f"parameter path {pieces} must begin with one of {tuple(_COMPONENTS)}")
    return _COMPONENTS[pieces[0]]


def partition_rules() -> list[PartitionRule]:
    """(regular expression for the whole path, mesh axis of each dimension).

    Every parameter matches exactly one. Stacks begin with their layer axis, which is never split.
    Matrices are split over 'fsdp' on the model-width side and over 'tensor' on the other, so that
    tensor parallelism needs one reduction after attention and one after the MLP.
    """
    # Layers of several kinds are a stack for each: "llm/layers/full".
    stack = r"(visual/blocks|llm/layers(/\w+)?)"
    experts = rf"{stack}/(mlp|beside/mixture)"
    return [
        (rf"{stack}/(q|k|v|z|a|b|mlp/gate|mlp/up)/kernel", (None, "fsdp", "tensor")),
        (rf"{stack}/(q|k|v|z|a|b|mlp/gate|mlp/up)/bias", (None, "tensor")),
        (rf"{stack}/(o|mlp/down)/kernel", (None, ("tensor", "fsdp"), None)),
        (
            rf"{stack}/((o|mlp/down)/bias|norm[12]/(scale|bias)|([qk]|head)_norm/scale)",
            (None, None),
        ),
        (rf"{stack}/conv/[qkv]", (None, "tensor", None)),
        (rf"{stack}/(log_rate|step_bias)", (None, "tensor")),
        # Experts stay whole where the axes divide their number: gathered, they lie side by side.
        (rf"{experts}/experts/(gate|up|down)/kernel", (None, ("tensor", "fsdp"), None, None)),
        (rf"{experts}/router/kernel", (None, "fsdp", None)),
        (rf"{experts}/(scale|weights)", (None, None)),
        (rf"{stack}/mlp/shared/(gate|up)/kernel", (None, "fsdp", "tensor")),
        (rf"{stack}/mlp/shared/down/kernel", (None, ("tensor", "fsdp"), None)),
        (rf"{stack}/mlp/shared_gate/kernel", (None, "fsdp", None)),
        (rf"{stack}/(post_norm[12]/scale|(inputs|beside)/\w*norm/scale|scalar)", (None, None)),
        (rf"{stack}/(\w|mlp/\w+)/(input|output)_(min|max)", (None, None)),
        (rf"{stack}/inputs/gate/kernel", (None, "fsdp", "tensor")),
        (rf"{stack}/inputs/proj/kernel", (None, ("tensor", "fsdp"), None)),
        # The columns of a patch divide by few mesh sizes, the width by most.
        (r"visual/patch_embed/kernel", (None, "fsdp")),
        (r"visual/position", (None, "fsdp")),
        (r"visual/positions", (None, "fsdp", None)),  # a table for each axis
        (r"visual/(patch_embed/bias|class_token|(pre|post)_norm/(scale|bias))", (None,)),
        (r"visual/std_(scale|bias)", (None,)),
        (r"merger/(fc1|proj)/kernel", ("fsdp", "tensor")),
        (r"merger/fc1/bias", ("tensor",)),
        (r"merger/fc2/kernel", (("tensor", "fsdp"), None)),
        (r"merger/(norm/(scale|bias)|fc2/bias|newline)", (None,)),
        # Further projectors, stacked: one for each layer of the tower that is tapped.
        (r"merger/deepstack/fc1/kernel", (None, "fsdp", "tensor")),
        (r"merger/deepstack/fc1/bias", (None, "tensor")),
        (r"merger/deepstack/fc2/kernel", (None, ("tensor", "fsdp"), None)),
        (r"merger/deepstack/(norm/(scale|bias)|fc2/bias)", (None, None)),
        (r"llm/(layer_)?embed/embedding", ("tensor", "fsdp")),
        (r"llm/(head|layer_proj)/kernel", ("fsdp", "tensor")),
        (r"llm/(layer_)?norm/scale", (None,)),
    ]
