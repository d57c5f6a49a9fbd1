"""What may be done to a partition's hash, and to that of the inputs: each a script that checks before it writes.

Redis runs a script alone and whole, and its append-only file gets what the script wrote. Each writes with at most one
HSET of absolute values: a truncated file then holds all of it or nothing, and repeating it changes nothing.
"""

from typing import Final

CLAIM: Final = """
-- Take a partition over. KEYS[1] its hash; ARGV: nonce, configuration, log, then the nonce and the offset of a state
-- that the caller still has ('' = none). Returns
-- {'new'} | {'other_config', theirs} | {'other_log', theirs} | {'same'} (as the caller has) | {'ok', field, value, ...}
local m = redis.call('HMGET', KEYS[1], '@off', '@cfg', '@log', '@tok')
if not m[1] and redis.call('EXISTS', KEYS[1]) == 0 then return {'new'} end
if m[2] ~= ARGV[2] then return {'other_config', m[2] or ''} end
if m[3] ~= ARGV[3] and m[3] ~= '*' then return {'other_log', m[3] or ''} end
redis.call('HSET', KEYS[1], '@tok', ARGV[1])
if m[4] == ARGV[4] and m[1] == ARGV[5] then return {'same'} end
local all = redis.call('HGETALL', KEYS[1])
table.insert(all, 1, 'ok')
return all
"""

CREATE: Final = """
-- Begin the state of a partition that has none. KEYS[1] its hash; ARGV: field, value, ...
if redis.call('EXISTS', KEYS[1]) == 1 then return 'exists' end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 'ok'
"""

RESTART: Final = """
-- Begin anew where a state is there but cannot be used. KEYS[1] its hash; ARGV: nonce, field, value, ...
-- A crash between the two writes leaves no state, and so the same decision to the next claim.
if redis.call('HGET', KEYS[1], '@tok') ~= ARGV[1] then return 'fenced' end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 'ok'
"""

FLUSH: Final = """
-- Move a partition on, or only show that its owner lives. KEYS[1] its hash;
-- ARGV: nonce, expected offset, then field, value, ... (absolute values, @off among them when it moves)
local m = redis.call('HMGET', KEYS[1], '@tok', '@off')
if not m[2] then return 'missing' end
if m[1] ~= ARGV[1] then return 'fenced' end
if m[2] ~= ARGV[2] then return 'conflict' end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
return 'ok'
"""

SWEEP: Final = """
-- Delete fields that are no longer part of the state. KEYS[1] its hash; ARGV: nonce, expected offset, field, ...
-- Without the offset, a Redis that went back in time would lose what its older state still needs.
local m = redis.call('HMGET', KEYS[1], '@tok', '@off')
if m[1] ~= ARGV[1] then return 'fenced' end
if m[2] ~= ARGV[2] then return 'conflict' end
redis.call('HDEL', KEYS[1], unpack(ARGV, 3))
return 'ok'
"""

TELL: Final = """
-- Put an input into the hash of the inputs, unless another worker did something since it was read. KEYS[1] that hash;
-- ARGV: field, what is there ('' = nothing), what shall be there, a token that no other write has
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 'changed' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3], '@change', ARGV[4])
return 'ok'
"""

REFUSE: Final = """
-- Note that the record at an offset is set apart; the first worker to say so sends it. KEYS[1] the hash of the inputs;
-- ARGV: field, offset
if tonumber(ARGV[2]) <= tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '-1') then return 'known' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 'ok'
"""

MAX_PAIRS: Final = 3_999
"""Lua's stack takes 8,000 values at once: that many pairs can be unpacked into one HSET, with room to spare."""
MAX_SWEEP: Final = 2_000
"""Fields deleted by one script."""
