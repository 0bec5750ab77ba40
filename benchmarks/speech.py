"""What invented agents say and get to hear: words by Zipf's law in three scripts, tools' results, failures.

All of it is JSON already, without anything to be escaped, and is put together from sentences made beforehand: a million
texts would else take longer to make than to store. A few words are there to be searched for.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

RARE, FREQUENT, CHINESE_WORD, ARABIC_WORD, ABSENT = "xylograph", "flight", "手续费", "الدفع", "quixotrine"
SHORT_WORD, SHORT_ABSENT = "退款", "q@"
ONE_IN = 40_000  # messages that hold the rare word

_SENTENCES = 8192  # of a script
_ENGLISH = (
    "flight the a to of and for with booking agent customer order refund payment ticket hotel search result please "
    "check find price date city Boston Denver Lisbon Osaka morning evening change cancel confirm address account "
    "balance invoice report file table query column index error retry later available seat luggage window aisle "
    "passenger name email phone number policy rule allowed not cannot must should will would because before after "
    "between step plan first second third next done summary answer question data value total amount currency euro "
    "dollar rate discount coupon member level gold silver support ticket priority urgent low high open closed"
).split()
_CHINESE = (
    "请帮我 查询 航班 订单 退款 的状态 并且 取消 明天 早上 从北京 到上海 的机票 客户 已经 付款 但是 没有 收到 确认 "
    "邮件 系统 显示 余额 不足 请 稍后 再试 我们 会 尽快 处理 您的 请求 酒店 预订 改签 需要 支付 手续费 行李 座位 "
    "靠窗 会员 积分 可以 兑换 优惠券 价格 上涨 地址 错误 无法 投递"
).split()
_ARABIC = (
    "من فضلك ابحث عن رحلة إلى القاهرة غدا صباحا تم إلغاء الحجز و سيتم استرداد المبلغ خلال أيام العميل لم يستلم رسالة "
    "التأكيد الرصيد غير كاف يرجى المحاولة لاحقا الفندق متاح السعر ارتفع رقم الطلب غير صحيح الدفع مقبول شكرا لك على "
    "الانتظار العنوان خاطئ لا يمكن التسليم"
).split()
_SYLLABLES = "ba co di fu ga he ji ko la me no pa qui ro su ta ve wi xa yo zu bren clo dras fest gril mont plen".split()


class Failure(NamedTuple):
    """A kind of failure: what it says differs from time to time in numbers, ids and paths."""

    error_type: str
    code: str | None
    words: str
    file: str


def _failures() -> tuple[Failure, ...]:
    kinds = (
        ("TimeoutError", "504", "no answer from {host} within {n} s", "http"),
        ("ConnectionError", None, "connection to {host}:{n} was reset", "http"),
        ("RateLimitError", "429", "rate limit reached for {host}: {n} of {n} requests, retry in {n} s", "llm"),
        ("KeyError", None, "order {id} has no field amount_{n}", "orders"),
        ("ValueError", None, "cannot read {n} as a date in row {n} of {path}", "tables"),
        ("FileNotFoundError", "ENOENT", "no such file: {path}", "files"),
        ("PermissionError", "EACCES", "{path} may not be written by user {n}", "files"),
        ("JSONDecodeError", None, "expecting a value at line {n} column {n}", "parsing"),
        ("ContextLengthError", "400", "the prompt has {n} tokens, the model takes {n}", "llm"),
        ("NotFound", "404", "reservation {id} does not exist", "booking"),
        ("PaymentRefused", "402", "card {id} was refused: limit of {n} exceeded", "payment"),
        ("AssertionError", None, "expected {n} rows, got {n}", "tables"),
    )
    places = ("", " (attempt {n})", ", asked by request {id}")
    return tuple(
        Failure(error, code, words + place, f"/srv/agent/{file}/{part}.py")
        for part, place in zip(("client", "retry", "worker"), places, strict=True)
        for error, code, words, file in kinds
    )


class Speech:
    """Texts without end, the same for the same seed.

    Args:
        seed: other texts for another number.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - no secret
        invented = {"".join(self.random.choices(_SYLLABLES, k=self.random.randint(2, 4))) for _ in range(8000)}
        self._pools = {
            "en": self._sentences(_ENGLISH + sorted(invented), 10, " ", "."),
            "zh": self._sentences(_CHINESE, 9, "", "。"),
            "ar": self._sentences(_ARABIC, 9, " ", "."),
        }
        self._failures = _failures()
        self._bounds = _zipf(len(self._failures))
        self._told = 0

    def _sentences(self, words: Sequence[str], length: int, between: str, end: str) -> list[str]:
        bounds = _zipf(len(words))
        sizes = self.random.choices(range(max(3, length - 5), length + 6), k=_SENTENCES)
        return [between.join(self.random.choices(words, cum_weights=bounds, k=size)) + end for size in sizes]

    def text(self, language: str, most: int) -> str:
        """Up to so many sentences, with a number that makes the text unlike any other."""
        chance = self.random.random()
        count = 1 + int(chance * most)
        start = int(self.random.random() * (_SENTENCES - count))
        self._told += 1
        rare = f" {RARE}" if self._told % ONE_IN == ONE_IN // 2 else ""
        return f"{' '.join(self._pools[language][start : start + count])} #{self._told}{rare}"

    def system(self, role: str, language: str) -> str:
        """What an agent of this role is told at the beginning: always the same."""
        start = sum(map(ord, role)) * 7 % (_SENTENCES // 2)
        count = 12 + len(role)  # some are longer than what is stored by content
        return f"You are the {role}. {' '.join(self._pools[language][start : start + count])}"

    def long(self, sentences: int) -> str:
        """A large output of a tool, such as a page or a file."""
        return "\\n".join(self.text("en", 6) for _ in range(sentences))

    def failure(self) -> tuple[Failure, str]:
        """A failure, the common ones more often, and what it said this time."""
        kind = self.random.choices(self._failures, cum_weights=self._bounds)[0]
        words = kind.words
        while "{" in words:  # each time it is named, another value
            begin = words.index("{")
            end = words.index("}", begin)
            words = words[:begin] + self._value(words[begin + 1 : end]) + words[end + 1 :]
        return kind, words

    def _value(self, name: str) -> str:
        number = self.random.getrandbits(32)
        if name == "n":
            return str(number % 9973)
        if name == "id":
            return f"{number:08x}-{number & 0xFFFF:04x}-4{number >> 20:03x}-8{number & 0xFFF:03x}-{number * 3:012x}"
        if name == "path":
            return f"/data/jobs/{number % 997}/part-{number:08x}.csv"
        return f"api{number % 5}.example.net"

    def traceback(self, kind: Failure, words: str) -> str:
        """As Python prints it."""
        line = 17 + len(kind.words)
        return (
            "Traceback (most recent call last):\\n"
            f'  File \\"/srv/agent/main.py\\", line 88, in step\\n    return self.call(tool, **given)\\n'
            f'  File \\"{kind.file}\\", line {line}, in run\\n    raise {kind.error_type}(words)\\n'
            f"{kind.error_type}: {words}\\n"
        )


def _zipf(count: int) -> list[float]:
    """Cumulative weights: the n-th is 1 / (n + 2)."""
    total = 0.0
    return [total := total + 1 / (rank + 2) for rank in range(count)]


class Times:
    """Durations as they are: most are short, some take very long (log-normal).

    Args:
        rnd: where chance comes from.
    """

    def __init__(self, rnd: random.Random) -> None:
        self._normal = [rnd.gauss(0, 1) for _ in range(8191)]
        self._next = 0

    def us(self, median_s: float, sigma: float) -> int:
        """Microseconds, at least one."""
        self._next = (self._next + 1) % 8191
        return 1 + int(median_s * 1e6 * math.exp(sigma * self._normal[self._next]))
