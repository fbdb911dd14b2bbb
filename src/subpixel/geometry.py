"""One axis of a transposed convolution: integers only.

Number HR positions from the start of the uncropped output. Input pixel n adds tap t of the kernel at position
n*r + d*t, and the output is a window on these positions that opens at the padding p. All below is this,
split by phase (HR index modulo r). Only the output's size depends on the input's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Literal, SupportsIndex, get_args

Form = Literal["aligned", "compact"]
IntOrInts = int | Sequence[int]


@dataclass(frozen=True)
class LRAxis:
    """One axis of the LR convolution that, shuffled and cropped, equals a transposed convolution.

    Attributes:
        taps: K, taps of every phase kernel.
        pad: zeros (low, high) around the LR input; a negative pad crops it.
        lead: zeros in front of the dilated kernel before it is split into phases.
        crop: HR pixels to drop at the start of the shuffled output.
    """

    taps: int
    pad: tuple[int, int]
    lead: int
    crop: int

    def unshuffled_pad(self, input_size: int, output_size: int) -> tuple[int, int]:
        """Zeros (low, high) around an unshuffled input, for the dual: the convolution that strides.

        Args:
            input_size: LR pixels of the unshuffled input.
            output_size: LR pixels wanted.
        """
        low = self.taps - 1 - self.pad[0]
        return low, output_size + self.taps - 1 - input_size - low


@dataclass(frozen=True)
class PhaseAxis:
    """One axis of one phase, convolved by itself with exactly its own taps of the kernel.

    Attributes:
        taps: how many; none where no tap falls on the phase (k < r, or r and d share a factor).
        first: its first tap of the kernel.
        step: taps of the kernel from one of its taps to the next.
        dilation: LR pixels from one of its taps to the next.
        pad: zeros (low, high) around the LR input; a negative pad crops it.
    """

    taps: int
    first: int
    step: int
    dilation: int
    pad: tuple[int, int]


@dataclass(frozen=True)
class Axis:
    """One axis of a transposed convolution, with PyTorch's names, meaning and limits.

    Raises:
        TypeError: no integer.
        ValueError: a number below its minimum, or output_padding not below max(stride, dilation).

    Example:
        >>> axis = Axis(kernel_size=4, stride=2, padding=1)
        >>> axis.output_size(8)
        16
        >>> axis.lr("aligned")
        LRAxis(taps=3, pad=(1, 1), lead=1, crop=0)
        >>> axis.lr("compact")
        LRAxis(taps=2, pad=(1, 1), lead=0, crop=1)
    """

    kernel_size: int
    stride: int = 1
    padding: int = 0
    output_padding: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            _check(name, value)
        if self.output_padding >= max(self.stride, self.dilation):
            raise ValueError(
                "output_padding must be smaller than stride or dilation; got output_padding="
                f"{self.output_padding}, stride={self.stride}, dilation={self.dilation}."
            )

    @property
    def extent(self) -> int:
        """HR pixels that the dilated kernel spans."""
        return self.dilation * (self.kernel_size - 1) + 1

    def output_size(self, input_size: int) -> int:
        """HR pixels made of `input_size` LR pixels.

        Raises:
            ValueError: the padding leaves no pixel.
        """
        if input_size < 1:
            raise ValueError(f"the input must have at least one pixel; got {input_size}.")
        size = self.stride * input_size + self._surplus
        if size < 1:
            raise ValueError(
                f"the output must have at least one pixel; got {size} from {input_size} by {self}."
            )
        return size

    def lr(self, form: Form) -> LRAxis:
        """The LR convolution of this axis.

        Args:
            form: "aligned" opens the output at a phase 0, so that nothing is cropped at the start;
                "compact" has the fewest taps.
        """
        if form not in get_args(Form):
            raise ValueError(f"form must be one of {get_args(Form)}; got {form!r}.")
        lead = -self.padding % self.stride if form == "aligned" else 0
        first_row, crop = divmod(self.padding + lead, self.stride)
        taps = _ceil_div(self.extent + lead, self.stride)
        high = _ceil_div(self._surplus + crop, self.stride) + first_row
        return LRAxis(taps, (taps - 1 - first_row, high), lead, crop)

    def phases(self) -> tuple[PhaseAxis, ...]:
        """Each phase of the output by itself; all give ceil(output_size / stride) rows."""
        return tuple(self._phase(index) for index in range(self.stride))

    def _phase(self, index: int) -> PhaseAxis:
        shared = gcd(self.dilation, self.stride)
        step, dilation = self.stride // shared, self.dilation // shared
        position = self.padding + index
        first = self.kernel_size  # solve dilation * first = position (modulo stride), if it can be
        if position % shared == 0:
            inverse = pow(int(dilation), -1, int(step))  # refuses NumPy's integers
            first = min(position // shared * inverse % step, first)
        taps = len(range(first, self.kernel_size, step))
        row = (position - self.dilation * first) // self.stride
        pad = (taps - 1) * dilation - row, _ceil_div(self._surplus, self.stride) + row
        return PhaseAxis(taps, first, step, dilation, pad)

    @property
    def _surplus(self) -> int:
        """What the output has beyond stride * input_size pixels."""
        return self.extent + self.output_padding - 2 * self.padding - self.stride


def axes(
    kernel_size: Sequence[int],
    stride: IntOrInts = 1,
    padding: IntOrInts = 0,
    output_padding: IntOrInts = 0,
    dilation: IntOrInts = 1,
) -> tuple[Axis, ...]:
    """The geometry of a layer, axis by axis.

    Args:
        kernel_size: one integer an axis, as in `weight.shape[2:]`.
        stride: as the following, one integer, or one an axis.
        padding: HR pixels cropped on both sides.
        output_padding: HR pixels added at the end.
        dilation: HR pixels between taps.

    Raises:
        TypeError: no integer.
        ValueError: a sequence of another length than `kernel_size`, or an invalid axis.

    Example:
        >>> [axis.stride for axis in axes((16, 3), stride=(8, 1), padding=1)]
        [8, 1]
    """
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    columns = [per_axis(value, len(kernel_size), name) for name, value in options.items()]
    return tuple(Axis(*row) for row in zip(kernel_size, *columns, strict=True))


def per_axis(value: IntOrInts, ndim: int, name: str) -> tuple[int, ...]:
    """One integer for each of `ndim` axes, a single one repeated; `name` is for the error.

    Raises:
        TypeError: no integer.
        ValueError: a sequence of neither one nor `ndim` integers, or one below its minimum.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    for each in values:
        _check(name, each)
    if len(values) not in {1, ndim}:
        raise ValueError(f"{name} must be one integer or one an axis; got {name}={values} for {ndim} axes.")
    return values * ndim if len(values) == 1 else values


def _check(name: str, value: int) -> None:
    if not isinstance(value, SupportsIndex):
        raise TypeError(f"{name} must be an integer; got {name}={value!r}.")
    if value < (least := 0 if "padding" in name else 1):
        raise ValueError(f"{name} must be at least {least}; got {name}={value}.")


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
