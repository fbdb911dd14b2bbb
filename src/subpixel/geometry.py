"""One axis of a transposed convolution, in integers alone.

Count HR positions from the start of the uncropped output. Tap t of the kernel adds LR pixel n at position
n*r + d*t, and the output is a window on these positions that opens at the padding p:

    y[h] = sum of x[n] * w[t] over all n, t with n*r + d*t = h + p

All below is this equation, split by phase (HR index modulo r); only the output's size depends on the input's.
Letters: N LR pixels, k taps, stride r, padding p, dilation d, extent e = d*(k - 1) + 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Literal, SupportsIndex, get_args

LRForm = Literal["aligned", "compact"]  # where the kernel is cut into phases; see `Axis.lr`
IntOrInts = int | Sequence[int]


@dataclass(frozen=True)
class LRAxis:
    """One axis of the LR convolution that, shuffled and cropped, equals a transposed convolution.

    Attributes:
        taps: K, the taps of every phase kernel.
        pad: zeros (low, high) around the LR input; a negative pad crops it.
        lead: zeros before the dilated kernel when it is split into phases.
        crop: HR pixels to drop at the start of the shuffled output.
    """

    taps: int
    pad: tuple[int, int]
    lead: int
    crop: int

    def unshuffled_pad(self, input_size: int, output_size: int) -> tuple[int, int]:
        """Return the zeros (low, high) around an unshuffled input, for the dual: the strided convolution.

        Args:
            input_size: LR pixels of the unshuffled input.
            output_size: LR pixels wanted.
        """
        # With x and y exchanged, the aligned equation of `Axis.lr` reads
        #     x[m] = sum of W[r*s + f] * y_f[m - q + s] over s and f,  y_f[m] = y[m*r + f].
        # So there are q zeros at the start, and at the end as many as the last output reads beyond the input.
        low = self.taps - 1 - self.pad[0]
        return low, output_size + self.taps - 1 - input_size - low


@dataclass(frozen=True)
class PhaseAxis:
    """One axis of one phase, convolved by itself with exactly its own taps of the kernel.

    Attributes:
        taps: how many taps fall on the phase; none where k < r, or where r and d share a factor.
        first: the first of them, as an index into the kernel.
        step: kernel taps from one of them to the next.
        dilation: LR pixels from one of them to the next.
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
        TypeError: an attribute is not an integer.
        ValueError: a number is below its minimum, or output_padding is not below max(stride, dilation).

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
        """The HR pixels that the dilated kernel spans."""
        return self.dilation * (self.kernel_size - 1) + 1

    @property
    def surplus(self) -> int:
        """The HR pixels of the output beyond stride * input_size; may be negative."""
        return self.extent + self.output_padding - 2 * self.padding - self.stride

    def output_size(self, input_size: int) -> int:
        """Return how many HR pixels `input_size` LR pixels give.

        Raises:
            ValueError: the input has no pixel, or the padding leaves none.
        """
        if input_size < 1:
            raise ValueError(f"the input must have at least one pixel; got {input_size}.")
        size = self.stride * input_size + self.surplus
        if size < 1:
            raise ValueError(
                f"the output must have at least one pixel; got {size} from {input_size} by {self}."
            )
        return size

    def lr(self, form: LRForm) -> LRAxis:
        """Return the LR convolution of this axis.

        Put `lead` zeros before the dilated kernel, W[lead + d*t] = w[t], and let p + lead = q*r + crop. With
        h + crop = m*r + f the equation of this file reads

            y[m*r + f - crop] = sum of W[r*s + f] * x[m + q - s] over s < K,  K = ceil((e + lead) / r)

        which is a convolution over LR pixels for each phase f.

        Args:
            form: "aligned" opens the output at phase 0, lead = -p mod r, so that nothing is cropped at the
                start; "compact" has no lead and so the fewest taps.
        """
        if form not in get_args(LRForm):
            raise ValueError(f"form must be one of {get_args(LRForm)}; got {form!r}.")
        lead = -self.padding % self.stride if form == "aligned" else 0
        start, crop = divmod(self.padding + lead, self.stride)
        taps = _ceil_div(self.extent + lead, self.stride)
        # Row m reads x[m + q - K + 1] to x[m + q], and the last row is N - 1 + ceil((surplus + crop) / r).
        high = _ceil_div(self.surplus + crop, self.stride) + start
        return LRAxis(taps, (taps - 1 - start, high), lead, crop)

    def phases(self) -> tuple[PhaseAxis, ...]:
        """Return each phase of the output by itself; all give ceil(output_size / stride) rows."""
        return tuple(self._phase(index) for index in range(self.stride))

    def _phase(self, index: int) -> PhaseAxis:
        # Phase f sees the taps with d*t = p + f (modulo r). With g = gcd(d, r) there are none unless g
        # divides p + f; else they are t0, t0 + r/g, t0 + 2*r/g, ... with t0 = (p + f)/g * (d/g)**-1 (modulo
        # r/g), and
        #     y[m*r + f] = sum of w[t0 + i*r/g] * x[m + row - i*d/g] over i,  row = (p + f - d*t0) / r.
        shared = gcd(self.dilation, self.stride)
        step, dilation = self.stride // shared, self.dilation // shared
        position = self.padding + index
        first = self.kernel_size  # beyond the last tap: none
        if position % shared == 0:
            inverse = pow(int(dilation), -1, int(step))  # pow refuses NumPy's integers
            first = min(position // shared * inverse % step, first)
        taps = len(range(first, self.kernel_size, step))
        row = (position - self.dilation * first) // self.stride
        pad = (taps - 1) * dilation - row, _ceil_div(self.surplus, self.stride) + row
        return PhaseAxis(taps, first, step, dilation, pad)


def axes(
    kernel_size: Sequence[int],
    stride: IntOrInts = 1,
    padding: IntOrInts = 0,
    output_padding: IntOrInts = 0,
    dilation: IntOrInts = 1,
) -> tuple[Axis, ...]:
    """Return the geometry of a layer, axis by axis.

    Args:
        kernel_size: one integer an axis, as in `weight.shape[2:]`.
        stride: one integer, or one an axis, as are the following.
        padding: HR pixels cropped on both sides.
        output_padding: HR pixels added at the end.
        dilation: HR pixels from tap to tap.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: a sequence has another length than `kernel_size`, or an axis is invalid.

    Example:
        >>> [axis.stride for axis in axes((16, 3), stride=(8, 1), padding=1)]
        [8, 1]
    """
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    columns = [per_axis(value, len(kernel_size), name) for name, value in options.items()]
    return tuple(Axis(*row) for row in zip(kernel_size, *columns, strict=True))


def per_axis(value: IntOrInts, ndim: int, name: str) -> tuple[int, ...]:
    """Return one integer for each of `ndim` axes, a single one repeated.

    Args:
        value: one integer, or one an axis.
        ndim: how many axes there are.
        name: what the error calls the value.

    Raises:
        TypeError: a value is not an integer.
        ValueError: a sequence has neither one nor `ndim` integers, or one is below its minimum.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    for each in values:
        _check(name, each)
    if len(values) not in {1, ndim}:
        raise ValueError(f"{name} must be one integer or one an axis; got {name}={values} for {ndim} axes.")
    return values * ndim if len(values) == 1 else values


def _check(name: str, value: int) -> None:
    # Nearly all are plain integers; for those to ask for the type takes a tenth of the time.
    if type(value) is not int and not isinstance(value, SupportsIndex):
        raise TypeError(f"{name} must be an integer; got {name}={value!r}.")
    if value < (least := 0 if "padding" in name else 1):
        raise ValueError(f"{name} must be at least {least}; got {name}={value}.")


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
