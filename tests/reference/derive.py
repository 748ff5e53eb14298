#!/usr/bin/env python3
"""derive.py - independent reference of strongroom's byte formats, written from the format page (src/manual/format.md) alone.

What it is: a second implementation (Python 3.11+, standard library and PyPI `cryptography`) of the context
encoding, the key tree, policies, ring slots, record envelopes, engine keys, audit leaves and checkpoints. It shares nothing with the
Rust code; it exists so that the two can be compared. All inputs are in the output, nothing is random.

    python3 -m venv venv && venv/bin/pip install cryptography
    venv/bin/python derive.py --check            # XAES vectors, 10,000 accumulated steps, SIV, HKDF, size limit
    venv/bin/python derive.py --check 1000000    # the same with 1,000,000 steps (minutes, 320 MB)
    venv/bin/python derive.py                    # the check, then writes ../vectors/derive.json

In derive.json every byte string is lower-case hex, every number a JSON number, every root id / root version /
index id plain text (its UTF-8 bytes are used). Where the page leaves room, "DECISION" marks the reading taken.
"""
import base64, hashlib, hmac, json, pathlib, struct, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = HERE.parent / "vectors"
XAES_JSON = VECTORS / "xaes.json"

# ---- integers and contexts (everything big-endian) ----
u8, u16, u32, u64 = (lambda n, f=f: struct.pack(f, n) for f in (">B", ">H", ">I", ">Q"))
def text(s): return s.encode("utf-8")
def lp(x): return u32(len(x)) + x
def items(xs): return b"".join(lp(x) for x in xs)           # a list is ONE part
def ctx(label, *parts): return lp(text(label)) + b"".join(lp(p) for p in parts)
def s8(b): return u8(len(b)) + b                            # u8-length string of policy and roots
def sha256(b): return hashlib.sha256(b).digest()
def xor(a, b): assert len(a) == len(b); return bytes(x ^ y for x, y in zip(a, b))

def hkdf(ikm, salt, info, length=32):                       # RFC 5869 with SHA-256, extract then expand
    prk, okm, t, i = hmac.digest(salt, ikm, "sha256"), b"", b"", 0
    while len(okm) < length:
        i += 1
        t = hmac.digest(prk, t + info + u8(i), "sha256")
        okm += t
    return okm[:length]

# ---- AES, XAES-256-GCM, key commitment, AES-SIV ----
def aes(key, blocks):
    e = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return e.update(blocks) + e.finalize()
def dbl(block):                                             # doubling in GF(2^128)
    n = int.from_bytes(block, "big") << 1
    return ((n ^ 0x87) & (2**128 - 1) if n >> 128 else n).to_bytes(16, "big")

def xaes_seal(key, nonce, aad, plaintext):
    """-> (KC[32], ciphertext || tag[16])"""
    assert len(key) == 32 and len(nonce) == 24
    k1 = dbl(aes(key, bytes(16)))
    kx = b"".join(aes(key, xor(bytes((0, i, 0x58, 0)) + nonce[:12], k1)) for i in (1, 2))
    c = aes(key, b"XCMT" + nonce[:12])
    kc = b"".join(aes(key, xor(xor(c, nonce[12:] + bytes((0, 1, 0, i))), k1)) for i in (1, 2))
    return kc, AESGCM(kx).encrypt(nonce[12:], plaintext, aad)
def kc_seal(key, nonce, aad, plaintext):                    # N[24] || KC[32] || ciphertext || tag[16]
    kc, ct = xaes_seal(key, nonce, aad, plaintext)
    return nonce + kc + ct

def cmac(key, m):                                           # RFC 4493
    k1 = dbl(aes(key, bytes(16)))
    full = m and len(m) % 16 == 0
    m = m if full else m + b"\x80" + bytes(-(len(m) + 1) % 16)
    mac = bytes(16)
    for i in range(0, len(m), 16):
        last = (k1 if full else dbl(k1)) if i + 16 == len(m) else bytes(16)
        mac = aes(key, xor(xor(mac, m[i:i + 16]), last))
    return mac
def siv_seal(key, ads, plaintext):
    """RFC 5297, by hand because libraries differ on an empty plaintext: S2V(ads.., plaintext), then CTR; SIV first."""
    mac_key, ctr_key = key[:len(key) // 2], key[len(key) // 2:]
    d = cmac(mac_key, bytes(16))
    for ad in ads:
        d = xor(dbl(d), cmac(mac_key, ad))
    if len(plaintext) >= 16:
        t = plaintext[:-16] + xor(plaintext[-16:], d)
    else:
        t = xor(dbl(d), plaintext + b"\x80" + bytes(15 - len(plaintext)))
    siv = cmac(mac_key, t)
    q = int.from_bytes(siv, "big") & ~((1 << 63) | (1 << 31))
    n = (len(plaintext) + 15) // 16
    stream = aes(ctr_key, b"".join(((q + i) % 2**128).to_bytes(16, "big") for i in range(n)))
    return siv + xor(plaintext, stream[:len(plaintext)])

# ---- derivations (salt = incarnation) ----
def local_root(root_key, rid, rver, inc, epoch):            # DECISION: root version in ctx is UTF-8 text
    return hkdf(root_key, inc, ctx("strongroom/v1/local-root", text(rid), text(rver), inc, u32(epoch)))
def kek(secrets, inc, epoch, alt_digest):                   # secrets in ascending byte order of root id
    return hkdf(b"".join(secrets), inc, ctx("strongroom/v1/kek", inc, u32(epoch), alt_digest))
def ring_seal(r, inc, epoch): return hkdf(r, inc, ctx("strongroom/v1/keyset", inc, u32(epoch)))
def ring_check(r, inc, epoch, pol_digest):
    return hkdf(r, inc, ctx("strongroom/v1/ring-check", inc, u32(epoch), pol_digest))
def data_key(kind, tenant_key, inc, gen, coll, suite):      # kind: "record" or "blob"
    return hkdf(tenant_key, inc, ctx("strongroom/v1/" + kind, inc, u32(gen), u32(coll), u8(suite)))
def name_key(name_secret, inc, coll):
    return hkdf(name_secret, inc, ctx("strongroom/v1/name", inc, u32(coll)), 64)
def index_key(name_secret, inc, coll, index_id):            # DECISION: index id is text ("names and ids their UTF-8 bytes")
    return hkdf(name_secret, inc, ctx("strongroom/v1/index", inc, u32(coll), text(index_id)))

# ---- policy ----
def alternative_digest(cls, ids):                           # DECISION: class u8; the ids are one list part, sorted by bytes
    return sha256(ctx("strongroom/v1/alternative", u8(cls), items(sorted(map(text, ids)))))
def alt_bytes(ids): return u8(len(ids)) + b"".join(s8(i) for i in sorted(map(text, ids)))
def by_ids(ids): return sorted(map(text, ids))               # DECISION: alternatives ascend as lists of ids, compared id by id, not as encoded bytes
def policy_bytes(p):
    head = u32(p["refresh"]) + u32(p["hard_expiry"]) + u32(p["recovery_limit"])
    alts = [alt_bytes(a) for a in sorted(p["alternatives"], key=by_ids)]
    return head + u8(len(alts)) + b"".join(alts) + s8(text(p["recovery"] or ""))
def policy_digest(p): return sha256(ctx("strongroom/v1/policy", policy_bytes(p)))  # DECISION: without the u16 length
def sealed_alternatives(p):                                 # DECISION: order of the seals = order of the policy, recovery (class 1) last
    out = [(0, sorted(a, key=text)) for a in sorted(p["alternatives"], key=by_ids)]
    return out + ([(1, [p["recovery"]])] if p["recovery"] else [])

# ---- ring slot ----
def make_slot(g):
    """g: all given values. Roots are written in ascending byte order of id (DECISION), nonces are taken from g["nonces"]
    in drawing order: one per root, one per alternative, one for the keyset."""
    inc, epoch, pol, nonces = g["incarnation"], g["epoch"], g["policy"], iter(g["nonces"])
    pb, o = policy_bytes(pol), {}
    slot = u8(1) + u8(g["state"]) + bytes(2) + u64(g["sequence"]) + u32(epoch) + inc + u16(len(pb)) + pb
    roots = sorted(g["roots"], key=lambda r: text(r["id"]))
    slot += u8(len(roots))
    o["local_roots"], o["wrapped_secrets"] = [], []
    for r in roots:                                         # local wrapped secret: N || KC || ct[32] || tag = 104 bytes
        k = local_root(r["key"], r["id"], r["version"], inc, epoch)
        aad = ctx("strongroom/v1/local-wrap", text(r["id"]), text(r["version"]), inc, u32(epoch))
        w = kc_seal(k, next(nonces), aad, r["wrap_secret"])
        slot += s8(text(r["id"])) + s8(text(r["version"])) + u16(len(w)) + w
        o["local_roots"].append({"id": r["id"], "key": k}); o["wrapped_secrets"].append({"id": r["id"], "aad": aad, "sealed": w})
    secret_of = {r["id"]: r["wrap_secret"] for r in roots}
    alts = sealed_alternatives(pol)
    slot += u8(len(alts))
    o["seals_of_r"] = []
    for cls, ids in alts:
        ad = alternative_digest(cls, ids)
        k = kek([secret_of[i] for i in sorted(ids, key=text)], inc, epoch, ad)
        s = kc_seal(k, next(nonces), ctx("strongroom/v1/ring-key", inc, u32(epoch), ad), g["ring_key"])
        slot += ad + s
        o["seals_of_r"].append({"class": cls, "roots": ids, "alternative_digest": ad, "kek": k, "sealed": s})
    gens = sorted(g["generations"], key=lambda x: x["generation"])
    keyset = u8(1) + g["name_secret"] + u32(g["write_generation"]) + u8(len(gens))   # DECISION: keyset format byte = 1
    keyset += b"".join(u32(x["generation"]) + u64(x["created"]) + x["key"] for x in gens)
    rs = ring_seal(g["ring_key"], inc, epoch)
    sk = kc_seal(rs, next(nonces), ctx("strongroom/v1/keyset-aad", slot), keyset)    # DECISION: AAD = slot before the u16 length
    used = slot + u16(len(sk)) + sk
    assert next(nonces, None) is None and len(used) <= 7534
    body = used.ljust(8160, b"\0")
    o |= {"policy_bytes": pb, "policy_digest": policy_digest(pol), "ring_seal_key": rs, "keyset_plaintext": keyset,
          "sealed_keyset": sk, "ring_check": ring_check(g["ring_key"], inc, epoch, policy_digest(pol)), "used_len": len(used),
          "used": used, "trailer": sha256(body), "slot_sha256": sha256(body + sha256(body))}
    return o

# ---- records ----
def record_plaintext(flags, version, expires, head, value): # dictionary (bit 2) and padding (bit 3) are not exercised
    assert bool(flags & 1) == (version is not None) and bool(flags & 2) == (expires is not None) and flags & ~19 == 0
    assert bool(flags & 16) == (head is not None) and not (head and value)
    return u8(flags) + (version or b"") + (u64(expires) if flags & 2 else b"") + (head["object"] + u64(head["length"]) if head else b"") + value
def envelope(e):
    header = u8(1) + u8(1) + u32(e["generation"])
    key = data_key("record", e["tenant_key"], e["incarnation"], e["generation"], e["collection"], 1)
    aad = ctx("strongroom/v1/record-aad", header, e["incarnation"], u32(e["collection"]), e["engine_key"])
    pt = record_plaintext(e["flags"], e["version"], e["expires"], e["head"], e["value"])
    return {"record_key": key, "aad": aad, "plaintext": pt, "envelope": header + kc_seal(key, e["nonce"], aad, pt)}
def hidden(key, coll, components):
    out = u32(coll)
    for c in components:                                    # DECISION: AD = bytes before this component's u16 length
        sealed = siv_seal(key, [out], c)
        out += u16(len(sealed)) + sealed
    return out

# ---- self-check ----
def check(steps=10000):
    x = json.loads(XAES_JSON.read_text()); h = bytes.fromhex
    for v in x["vectors"]:
        kc, ct = xaes_seal(h(v["key"]), h(v["nonce"]), h(v["aad"]), h(v["plaintext"]))
        assert ct.hex() == v["ciphertext_and_tag"] and kc.hex() == v["key_commitment"], v
    source, at, acc = hashlib.shake_128(b"").digest(steps * 320 + 10000), 0, hashlib.shake_128()
    def take(n):
        nonlocal at
        at += n
        assert at <= len(source)
        return source[at - n:at]
    for _ in range(steps):
        key, nonce, pt, aad = take(32), take(24), take(take(1)[0]), take(take(1)[0])
        acc.update(xaes_seal(key, nonce, aad, pt)[1])
    assert acc.hexdigest(32) == x["accumulated"][str(steps)]
    # RFC 5297 A.1; then against OpenSSL's SIV with 64-byte keys and one AD
    assert siv_seal(h("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), [bytes(range(0x10, 0x28))],
        h("112233445566778899aabbccddee")).hex() == "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c"
    for n in (1, 15, 16, 17, 31, 32, 300):
        k, ad, p = fill("siv", 64), fill("ad", n), fill("p", n)
        assert siv_seal(k, [ad], p) == AESSIV(k).encrypt(p, [ad])
    assert hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xf0, 0xfa)), 42).hex() == (      # RFC 5869 A.1
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
    # the page's "7,534 bytes at most" confirms every length of the slot's layout
    assert 34 + (12 + 1 + 4 * (1 + 4 * 65) + 65) + 1 + 4 * (65 + 129 + 2 + 1024) + 1 + 5 * 136 + 2 + 72 + 38 + 16 * 44 == 7534
    print(f"check: {len(x['vectors'])} vectors, {steps} accumulated steps, SIV, HKDF, slot size: ok", file=sys.stderr)

# ---- the vectors ----
def fill(name, n=32): return hashlib.shake_256(text("strongroom reference: " + name)).digest(n)
def hexed(v):
    if isinstance(v, bytes): return v.hex()
    if isinstance(v, dict): return {k: hexed(x) for k, x in v.items()}
    return [hexed(x) for x in v] if isinstance(v, (list, tuple)) else v
def case(f, **inputs): return {"in": inputs, "out": f(**inputs)}

def typed(part):
    kind, v = part
    return {"u8": u8, "u32": u32, "u64": u64, "bytes": bytes, "text": text,
            "list": lambda xs: items(typed(x) for x in xs)}[kind](v)
def context(label, *parts):
    show = lambda p: {"type": p[0], "value": [show(x) for x in p[1]] if p[0] == "list" else p[1]}
    return {"label": label, "parts": [show(p) for p in parts], "hex": ctx(label, *map(typed, parts))}

def ring(name, alternatives, recovery, limits, roots, epoch, sequence, generations):
    pol = dict(zip(("refresh", "hard_expiry", "recovery_limit"), limits), alternatives=alternatives, recovery=recovery)
    f = lambda what, n=32: fill(f"ring {name} {what}", n)
    names = [f"wrap secret {r}" for r in sorted(roots)] + [f"R under {'+'.join(ids)} class {c}" for c, ids in sealed_alternatives(pol)] + ["keyset"]
    g = {"policy": pol, "state": 1, "sequence": sequence, "epoch": epoch, "incarnation": f("incarnation", 16),
         "roots": [{"id": r, "version": v, "key": f("root " + r), "wrap_secret": f("secret " + r)} for r, v in sorted(roots.items())],
         "ring_key": f("R"), "name_secret": f("name secret"), "write_generation": max(generations),
         "generations": [{"generation": n, "created": t, "key": f(f"tenant key {n}")} for n, t in sorted(generations.items())],
         "nonces": [f("nonce " + n, 24) for n in names], "nonce_for": names}
    return {"name": name, "in": g, "out": make_slot(g)}

def vectors():
    inc, coll, r, ns, tk = fill("incarnation", 16), 256, fill("R"), fill("name secret"), fill("tenant key")
    pol = lambda alts, rec=None, t=(300, 3600, 0): dict(zip(("refresh", "hard_expiry", "recovery_limit"), t), alternatives=alts, recovery=rec)
    policies = [pol([["service"]]), pol([["customer-a"], ["customer-b"]], "recovery", (300, 3600, 86400)), pol([["customer", "service"]])]
    one, two = alternative_digest(0, ["service"]), alternative_digest(0, ["customer", "service"])
    nk = name_key(ns, inc, coll)
    chunk = lambda index: u32(1) + u32(coll) + fill("object", 16) + u32(index)
    env = lambda name, value, version=None, expires=None, gen=1, key=None, c=coll, head=None: {"name": name, "in": (e := {
        "tenant_key": tk, "incarnation": inc, "generation": gen, "collection": c, "engine_key": key or hidden(nk, coll, [b"inbox/", b"1"]),
        "nonce": fill("envelope nonce " + name, 24), "flags": (version is not None) + 2 * (expires is not None) + 16 * (head is not None),
        "version": version, "expires": expires, "head": head, "value": value}), "out": envelope(e)}
    hid = lambda name, *cs, c=coll: {"name": name, "in": {"name_secret": ns, "incarnation": inc, "collection": c, "components": cs},
        "out": {"name_key": name_key(ns, inc, c), "engine_key": hidden(name_key(ns, inc, c), c, cs)}}
    two_alternatives = lambda: ring("two-alternatives", [["alpha"], ["beta"]], None, (300, 3600, 0), {"alpha": "v1", "beta": "v7"}, 1, 3,
        {1: 1767225600, 2: 1769904000, 3: 1772323200})
    return {
        "context": [
            context("strongroom/v1/test"), context("strongroom/v1/test", ("bytes", b"")), context(""),
            context("strongroom/v1/test", ("text", "a-b"), ("text", "c")), context("strongroom/v1/test", ("text", "a"), ("text", "b-c")),
            context("strongroom/v1/test", ("u8", 255), ("u32", 0x01020304), ("u64", 2**64 - 1), ("text", "Grüße"), ("bytes", inc)),
            # lists under a label of their own: one empty part is one empty part, only the label tells a list from bytes
            context("strongroom/v1/test-list", ("list", [])), context("strongroom/v1/test-list", ("list", [("text", "")])),
            context("strongroom/v1/test-list", ("list", [("text", "a"), ("text", "b")])), context("strongroom/v1/test", ("text", "a"), ("text", "b")),
            context("strongroom/v1/alternative", ("u8", 0), ("list", [("text", "customer"), ("text", "service")])),
            context("strongroom/v1/kms", ("bytes", inc), ("text", "service"), ("u32", 1)),
            context("strongroom/v1/object", ("bytes", inc), ("u32", coll), ("bytes", b"\0object\xff"), ("bytes", fill("object version", 16)), ("u32", 0))],
        "local_root": [case(local_root, root_key=fill("root key"), rid="service", rver=v, inc=inc, epoch=e) for v, e in (("v1", 1), ("v2", 1), ("v1", 2), ("", 2**32 - 1))],
        "kek": [case(kek, secrets=[fill("s1")], inc=inc, epoch=1, alt_digest=one), case(kek, secrets=[fill("s1"), fill("s2")], inc=inc, epoch=1, alt_digest=two)],
        "ring_seal": [case(ring_seal, r=r, inc=inc, epoch=e) for e in (1, 2)],
        "ring_check": [case(ring_check, r=r, inc=inc, epoch=e, pol_digest=policy_digest(policies[0])) for e in (1, 2)],
        "record_key": [case(lambda **k: data_key("record", **k), tenant_key=tk, inc=inc, gen=g, coll=c, suite=1) for g, c in ((1, 0), (1, coll), (2, coll))],
        "blob_key": [case(lambda **k: data_key("blob", **k), tenant_key=tk, inc=inc, gen=g, coll=coll, suite=2) for g in (1, 2)],  # DECISION: suite 2
        "name_key": [case(name_key, name_secret=ns, inc=inc, coll=c) for c in (0, coll)],
        "index_key": [case(index_key, name_secret=ns, inc=inc, coll=coll, index_id=i) for i in ("by-email", "")],
        "alternative_digest": [case(alternative_digest, cls=c, ids=i) for i in (["service"], ["customer", "service"], ["recovery"]) for c in (0, 1)],
        "policy": [{"in": p, "out": {"policy_bytes": policy_bytes(p), "policy_digest": policy_digest(p)}} for p in policies],
        "ring": [
            ring("single", [["service"]], None, (300, 3600, 0), {"service": "v1"}, 1, 1, {1: 1767225600}),
            two_alternatives(),
            ring("overlapping", [["alpha"], ["alpha", "beta"]], None, (300, 3600, 0), {"alpha": "v1", "beta": "v1"}, 1, 3, {1: 1767225600, 2: 1769904000, 3: 1772323200}),
            ring("pairs", [["alpha", "beta"], ["delta", "gamma"]], None, (300, 3600, 0), dict.fromkeys(("alpha", "beta", "delta", "gamma"), "v1"), 2, 9, {2: 1769904000, 4: 1772323200, 5: 1775001600}),
            ring("recovery", [["customer-a"], ["customer-b"]], "recovery", (300, 3600, 86400), {"customer-a": "v1", "customer-b": "v2", "recovery": "r1"}, 1, 1, {1: 1767225600})],
        "envelopes": [
            env("empty", b""), env("one byte", b"\x2a"), env("100 bytes", fill("value", 100)), env("ordered key, generation 2", b"value", gen=2, key=u32(coll) + b"inbox/1"),
            env("carried version", fill("value", 100), version=fill("carried version", 24)), env("carried version, empty", b"", version=fill("carried version", 24)),
            env("expires", b"value", expires=1767225600000), env("carried version and expires", b"value", version=fill("carried version", 24), expires=1767225600000),
            env("head", b"", head={"object": fill("object", 16), "length": 2**18 + 5}), env("head that expires", b"", expires=1767225600000, head={"object": fill("object", 16), "length": 2**18 + 1}), env("head, carried version and expires", b"", version=fill("carried version", 24), expires=1767225600000, head={"object": fill("object", 16), "length": 2**24}),
            env("last chunk of a head", fill("value", 5), c=1, key=chunk(1))],
        "hidden": [
            hid("none"), hid("one", b"inbox/"), hid("two", b"inbox/", b"1"), hid("three", b"inbox/", b"2026/", b"message 17, a longer one"), hid("block", bytes(range(16))),
            hid("empty component", b""), hid("empty in the middle", b"a", b"", b"b"), hid("300 bytes", fill("component", 300), b"x"), hid("another collection", b"inbox/", b"1", c=257)],
        "ordered": [{"in": {"collection": c, "key": k}, "out": u32(c) + k} for c, k in ((coll, b"inbox/1"), (coll, b""), (2**32 - 1, b"\0\xff"), (0, b"catalog"))],
    }

# ---- audit: leaves, RFC 6962 trees, C2SP checkpoints ----
OUTCOMES = ("begun", "done", "refused", "failed")
def audit_leaf(salt, time_ms, outcome, actor, act, details):
    who = u8(0) if actor is None else u8(1) + b"".join(lp(text(part)) for part in actor)
    pairs = b"".join(lp(text(part)) for pair in details for part in pair)
    return salt + u8(1) + u64(time_ms) + u8(OUTCOMES.index(outcome)) + who + lp(text(act)) + u8(len(details)) + pairs
def tree_root(leaves):
    if not leaves: return sha256(b"")
    if len(leaves) == 1: return sha256(b"\0" + leaves[0])
    k = 1
    while k * 2 < len(leaves): k *= 2
    return sha256(b"\1" + tree_root(leaves[:k]) + tree_root(leaves[k:]))
def checkpoint(seed, store, trail, leaves):
    """-> (signed note, verifier key)"""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    name = f"strongroom/{store.hex()}/{trail.hex()}"
    key_id = sha256(text(name) + b"\n\x01" + public)[:4]
    b64 = lambda b: base64.b64encode(b).decode()
    body = f"{name}\n{len(leaves)}\n{b64(tree_root(leaves))}\n"
    return f"{body}\n\u2014 {name} {b64(key_id + key.sign(text(body)))}\n", f"{name}+{key_id.hex()}+{b64(bytes([1]) + public)}"

def audit_vectors():
    leaf = lambda **k: {**k, "leaf": audit_leaf(**k)}
    leaves = [
        leaf(salt=fill("salt 1", 16), time_ms=1767225600000, outcome="done", actor=("https://issuer", "service", "anna"), act="tenant made", details=[("tenant", "contoso"), ("region", "eu")]),
        leaf(salt=fill("salt 2", 16), time_ms=1767225600001, outcome="refused", actor=None, act="root key asked", details=[("root", "customer-a"), ("answer", "denied: Grüße")]),
        leaf(salt=fill("salt 3", 16), time_ms=2**64 - 1, outcome="begun", actor=None, act="of a later release", details=[])]
    seed, store, trail = fill("signing seed"), fill("store", 16), fill("trail", 16)
    heads = []
    for size in range(len(leaves) + 1):
        some = [entry["leaf"] for entry in leaves[:size]]
        signed, key = checkpoint(seed, store, trail, some)
        heads.append({"seed": seed, "store": store, "trail": trail, "leaves": some, "note": signed, "verifier_key": key})
    return {"audit_leaf": leaves, "audit_checkpoint": heads}

if __name__ == "__main__":
    only_check = "--check" in sys.argv[1:2]
    check(int(sys.argv[2]) if only_check and len(sys.argv) > 2 else 10000)
    if not only_check:
        body = json.dumps(hexed(vectors() | audit_vectors()), indent=1, ensure_ascii=False) + "\n"
        assert len(body.encode()) < 150 * 1024
        (VECTORS / "derive.json").write_text(body)
        print(f"derive.json: {len(body.encode())} bytes, sha256 {sha256(body.encode()).hex()}", file=sys.stderr)
