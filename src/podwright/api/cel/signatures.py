"""What functions take and give, for the checker: a line a function, an overload a word.

A method's name begins with a dot, and its target is its first argument. A and B stand for any type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from podwright.api.cel.declarations import DYN, DeclType

_ALIASES = {
    "IP": "net.IP", "CIDR": "net.CIDR", "URL": "kubernetes.URL", "Quantity": "kubernetes.Quantity",
    "Semver": "kubernetes.Semver", "Format": "kubernetes.NamedFormat", "optional": "optional_type",
    **{
        name: f"kubernetes.authorization.{name}"
        for name in ("Authorizer", "PathCheck", "GroupCheck", "ResourceCheck", "Decision")
    },
}  # fmt: skip
_ORDERED = " ".join(
    f"{a},{b}:bool"
    for a, b in [
        *((x, y) for x in ("int", "uint", "double") for y in ("int", "uint", "double")),
        *((x, x) for x in ("bool", "string", "bytes", "timestamp", "duration")),
    ]
)
_COMPARED = ("int", "uint", "double", "bool", "string", "bytes", "duration", "timestamp")
_SUMMED = " ".join(f"list({kind}):{kind}" for kind in ("int", "uint", "double", "duration"))
_EXTREMES = " ".join(f"list({kind}):{kind}" for kind in _COMPARED)
_PART = "timestamp:int timestamp,string:int"
_PART_TOO = f"{_PART} duration:int"

_TABLE = f"""
_&&_ bool,bool:bool
_||_ bool,bool:bool
!_ bool:bool
-_ int:int double:double duration:duration
_?_:_ bool,A,A:A
_==_ A,A:bool
_!=_ A,A:bool
_<_ {_ORDERED}
_<=_ {_ORDERED}
_>_ {_ORDERED}
_>=_ {_ORDERED}
_+_ int,int:int uint,uint:uint double,double:double string,string:string bytes,bytes:bytes list(A),list(A):list(A) \
duration,duration:duration timestamp,duration:timestamp duration,timestamp:timestamp
_-_ int,int:int uint,uint:uint double,double:double duration,duration:duration timestamp,duration:timestamp \
timestamp,timestamp:duration
_*_ int,int:int uint,uint:uint double,double:double
_/_ int,int:int uint,uint:uint double,double:double
_%_ int,int:int uint,uint:uint
@in A,list(A):bool A,map(A,B):bool
_[_] list(A),int:A map(A,B),A:B optional(list(A)),int:optional(A) optional(map(A,B)),A:optional(B)
_[?_] list(A),int:optional(A) map(A,B),A:optional(B) optional(list(A)),int:optional(A) optional(map(A,B)),A:optional(B)
int int:int uint:int double:int string:int timestamp:int duration:int
uint int:uint uint:uint double:uint string:uint
double int:double uint:double double:double string:double
string string:string int:string uint:string double:string bool:string bytes:string timestamp:string duration:string \
IP:string CIDR:string
bytes string:bytes bytes:bytes
bool bool:bool string:bool
timestamp timestamp:timestamp string:timestamp int:timestamp
duration duration:duration string:duration int:duration
dyn A:dyn
type A:type
size string:int bytes:int list(A):int map(A,B):int
.size string:int bytes:int list(A):int map(A,B):int
matches string,string:bool
.matches string,string:bool
.contains string,string:bool
.startsWith string,string:bool
.endsWith string,string:bool
.charAt string,int:string
.indexOf string,string:int string,string,int:int list(A),A:int
.lastIndexOf string,string:int string,string,int:int list(A),A:int
.substring string,int:string string,int,int:string
.split string,string:list(string) string,string,int:list(string)
.replace string,string,string:string string,string,string,int:string
.join list(string):string list(string),string:string
.lowerAscii string:string
.upperAscii string:string
.trim string:string
.format string,list(dyn):string
strings.quote string:string
.find string,string:string
.findAll string,string:list(string) string,string,int:list(string)
.isSorted {" ".join(f"list({kind}):bool" for kind in _COMPARED)}
.sum {_SUMMED}
.min {_EXTREMES}
.max {_EXTREMES}
.includes list(A),A:bool dyn,A:bool
.flatten list(A):list(dyn) list(A),int:list(dyn)
.distinct list(A):list(A)
.slice list(A),int,int:list(A)
.reverse list(A):list(A) string:string
.sort {" ".join(f"list({kind}):list({kind})" for kind in _COMPARED)}
.first list(A):optional(A)
.last list(A):optional(A)
lists.range int:list(int)
sets.contains list(A),list(A):bool
sets.equivalent list(A),list(A):bool
sets.intersects list(A),list(A):bool
.hasValue optional(A):bool
.value optional(A):A
.orValue optional(A),A:A
.or optional(A),optional(A):optional(A)
optional.of A:optional(A)
optional.none :optional(A)
optional.ofNonZeroValue A:optional(A)
.getFullYear {_PART}
.getMonth {_PART}
.getDate {_PART}
.getDayOfMonth {_PART}
.getDayOfWeek {_PART}
.getDayOfYear {_PART}
.getHours {_PART_TOO}
.getMinutes {_PART_TOO}
.getSeconds {_PART_TOO}
.getMilliseconds {_PART_TOO}
quantity string:Quantity
isQuantity string:bool
.isGreaterThan Quantity,Quantity:bool Semver,Semver:bool
.isLessThan Quantity,Quantity:bool Semver,Semver:bool
.compareTo Quantity,Quantity:int Semver,Semver:int
.asInteger Quantity:int
.isInteger Quantity:bool
.asApproximateFloat Quantity:double
.sign Quantity:int
.add Quantity,Quantity:Quantity Quantity,int:Quantity
.sub Quantity,Quantity:Quantity Quantity,int:Quantity
semver string:Semver string,bool:Semver
isSemver string:bool string,bool:bool
.major Semver:int
.minor Semver:int
.patch Semver:int
url string:URL
isURL string:bool
.getScheme URL:string
.getHost URL:string
.getHostname URL:string
.getPort URL:string
.getEscapedPath URL:string
.getQuery URL:map(string,list(string))
ip string:IP
.ip CIDR:IP
isIP string:bool
ip.isCanonical string:bool
cidr string:CIDR
isCIDR string:bool
.family IP:int
.isUnspecified IP:bool
.isLoopback IP:bool
.isLinkLocalMulticast IP:bool
.isLinkLocalUnicast IP:bool
.isGlobalUnicast IP:bool
.containsIP CIDR,IP:bool CIDR,string:bool
.containsCIDR CIDR,CIDR:bool CIDR,string:bool
.masked CIDR:CIDR
.prefixLength CIDR:int
.validate Format,string:optional(list(string))
format.named string:optional(Format)
jsonpatch.escapeKey string:string
.path Authorizer,string:PathCheck
.group Authorizer,string:GroupCheck
.serviceAccount Authorizer,string,string:Authorizer
.resource GroupCheck,string:ResourceCheck
.subresource ResourceCheck,string:ResourceCheck
.namespace ResourceCheck,string:ResourceCheck
.name ResourceCheck,string:ResourceCheck
.fieldSelector ResourceCheck,string:ResourceCheck
.labelSelector ResourceCheck,string:ResourceCheck
.check PathCheck,string:Decision ResourceCheck,string:Decision
.allowed Decision:bool
.reason Decision:string
.errored Decision:bool
.error Decision:string
"""


class Overload(NamedTuple):
    arguments: Sequence[DeclType]
    result: DeclType


@cache
def named(text: str) -> DeclType:
    """A type by its written form; "A" and "B" are types of these names."""
    head, _, rest = text.partition("(")
    parts = [named(part) for part in _split(rest[:-1])] if rest else []
    return DYN if text == "dyn" else DeclType(_ALIASES.get(head, head), *parts)


def _split(text: str) -> Iterator[str]:
    """At the commas outside of parentheses."""
    return (part for part in re.split(r",(?![^(]*\))", text) if part)


def _overload(word: str) -> Overload:
    arguments, _, result = word.rpartition(":")
    return Overload([named(part) for part in _split(arguments)], named(result))


@cache
def overloads(name: str) -> Sequence[Overload]:
    """() of a function that is not in the table: it takes anything, and gives anything."""
    return [_overload(word) for word in _lines().get(name, ())]


@cache
def _lines() -> dict[str, list[str]]:
    lines = (line.split() for line in _TABLE.replace("\\\n", "").splitlines() if line)
    return {name: words for name, *words in lines}


def fits(given: DeclType, wanted: DeclType, bound: dict[str, DeclType]) -> bool:
    """Whether a value of the type may stand where the other is wanted. `bound` are the types that A and B stand for."""
    if wanted.name in ("A", "B"):
        known = bound.get(wanted.name)
        if known is not None and not fits(given, known, bound):
            return False
        if known is None or known.name == "null" or given.name == "dyn":
            bound[wanted.name] = given
        return True
    if given.name == "dyn" or wanted.name == "dyn":
        return True
    if given.name == "null" or wanted.name == "null":
        return given.name == wanted.name or _may_be_null(wanted if given.name == "null" else given)
    if given.is_object or wanted.is_object:
        return given is wanted
    return (
        given.name == wanted.name
        and len(given.parts) == len(wanted.parts)
        and all(fits(g, w, bound) for g, w in zip(given.parts, wanted.parts, strict=True))
    )


def _may_be_null(kind: DeclType) -> bool:
    return kind.is_object or kind.name in ("timestamp", "duration", "optional_type") or "." in kind.name


def resolved(kind: DeclType, bound: dict[str, DeclType]) -> DeclType:
    """The type with what A and B stand for in their places."""
    if kind.name in ("A", "B"):
        return bound.get(kind.name, DYN)
    if not kind.parts:
        return kind
    return DeclType(kind.name, *(resolved(part, bound) for part in kind.parts))
