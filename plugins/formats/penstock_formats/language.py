"""Languages: the three letters of MPEG-TS and ISO media files (ISO 639-2), and the tags of everything else (RFC 5646)."""

from __future__ import annotations

import re

UNDETERMINED = "und"
_TAG = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8}){0,8}")
_CODES = """
aa:aar ab:abk ae:ave af:afr ak:aka am:amh an:arg ar:ara as:asm av:ava ay:aym az:aze ba:bak be:bel bg:bul bi:bis bm:bam bn:ben
bo:bod:tib br:bre bs:bos ca:cat ce:che ch:cha co:cos cr:cre cs:ces:cze cu:chu cv:chv cy:cym:wel da:dan de:deu:ger dv:div dz:dzo
ee:ewe el:ell:gre en:eng eo:epo es:spa et:est eu:eus:baq fa:fas:per ff:ful fi:fin fj:fij fo:fao fr:fra:fre fy:fry ga:gle gd:gla
gl:glg gn:grn gu:guj gv:glv ha:hau he:heb hi:hin ho:hmo hr:hrv ht:hat hu:hun hy:hye:arm hz:her ia:ina id:ind ie:ile ig:ibo ii:iii
ik:ipk io:ido is:isl:ice it:ita iu:iku ja:jpn jv:jav ka:kat:geo kg:kon ki:kik kj:kua kk:kaz kl:kal km:khm kn:kan ko:kor kr:kau
ks:kas ku:kur kv:kom kw:cor ky:kir la:lat lb:ltz lg:lug li:lim ln:lin lo:lao lt:lit lu:lub lv:lav mg:mlg mh:mah mi:mri:mao
mk:mkd:mac ml:mal mn:mon mr:mar ms:msa:may mt:mlt my:mya:bur na:nau nb:nob nd:nde ne:nep ng:ndo nl:nld:dut nn:nno no:nor nr:nbl
nv:nav ny:nya oc:oci oj:oji om:orm or:ori os:oss pa:pan pi:pli pl:pol ps:pus pt:por qu:que rm:roh rn:run ro:ron:rum ru:rus rw:kin
sa:san sc:srd sd:snd se:sme sg:sag si:sin sk:slk:slo sl:slv sm:smo sn:sna so:som sq:sqi:alb sr:srp ss:ssw st:sot su:sun sv:swe
sw:swa ta:tam te:tel tg:tgk th:tha ti:tir tk:tuk tl:tgl tn:tsn to:ton tr:tur ts:tso tt:tat tw:twi ty:tah ug:uig uk:ukr ur:urd
uz:uzb ve:ven vi:vie vo:vol wa:wln wo:wol xh:xho yi:yid yo:yor za:zha zh:zho:chi zu:zul
"""
"""Those that have two letters as well: ISO 639-1, 639-2/T, and 639-2/B where that is another."""

_TWO = {code: two for two, *codes in (entry.split(":") for entry in _CODES.split()) for code in codes}
_THREE = {entry[:2]: entry[3:6] for entry in _CODES.split()}


def language_tag(text: str | None) -> str | None:
    """The tag of what a peer says a language is; None where that is nothing, undetermined, or no tag.

    RFC 5646 2.2.1 has the shortest code: ``en``, not ``eng``.
    """
    if text is None or not _TAG.fullmatch(text):
        return None
    first, dash, rest = text.partition("-")
    first = first.lower()
    return None if first == UNDETERMINED else f"{_TWO.get(first, first)}{dash}{rest}"


def language_code(tag: str | None) -> str | None:
    """The three letters of ISO 639-2/T that are all that `tag` says; None where it says more, or there are none."""
    if tag is None:
        return None
    code = _THREE.get(tag.lower(), tag.lower())
    return code if len(code) == 3 and code.isascii() and code.isalpha() else None
