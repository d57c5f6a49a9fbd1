"""What servers may do to what they share of the watch: each a script that checks before it writes.

Redis runs a script alone and whole, and its append-only file has all of what it wrote or nothing.
"""

from typing import Final

ADVANCE: Final = """
-- Move one surface on, if nobody else has. KEYS: its hash, progress, history, outbox, tallies;
-- ARGV: surface, the last minute that was judged before ('' = none), the last one now, the evidence, ms after which it
-- is forgotten, how many surfaces there may be, how many verdicts history and outbox may hold, minutes that were gone
-- before they could be judged, then the verdicts
local surface, places = ARGV[1], tonumber(ARGV[6])
local last = redis.call('HGET', KEYS[1], 'last') or ''
if last ~= ARGV[2] then return 'behind' end
if redis.call('HEXISTS', KEYS[2], surface) == 0 and redis.call('HLEN', KEYS[2]) >= places then return 'full' end
redis.call('HSET', KEYS[1], 'last', ARGV[3], 'state', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('HSET', KEYS[2], surface, ARGV[3])
if ARGV[9] ~= '0' then redis.call('HINCRBY', KEYS[5], 'gone_minutes', ARGV[9]) end
if #ARGV < 10 then return 'ok' end
for i = 10, #ARGV do
  redis.call('LPUSH', KEYS[3], ARGV[i])
  redis.call('RPUSH', KEYS[4], ARGV[i])
end
redis.call('HINCRBY', KEYS[5], 'verdicts', #ARGV - 9)
redis.call('LTRIM', KEYS[3], 0, ARGV[7] - 1)
local over = redis.call('LLEN', KEYS[4]) - ARGV[8]
if over > 0 then
  redis.call('LTRIM', KEYS[4], over, -1)
  redis.call('HINCRBY', KEYS[5], 'unsent_verdicts', over)
end
return 'ok'
"""

FORGET: Final = """
-- Give the place of a surface free whose evidence has expired. KEYS: its hash, progress; ARGV: surface
if redis.call('EXISTS', KEYS[1]) == 1 then return 'there' end
redis.call('HDEL', KEYS[2], ARGV[1])
return 'ok'
"""

TAKE: Final = """
-- Take the oldest verdicts that wait, unless another server sends now. KEYS[1] outbox, KEYS[2] sender;
-- ARGV: who asks, for how long (ms), how many at most. They stay there until they are sent.
local sender = redis.call('GET', KEYS[2])
if sender and sender ~= ARGV[1] then return {} end
local waiting = redis.call('LRANGE', KEYS[1], 0, ARGV[3] - 1)
if #waiting > 0 then redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) end
return waiting
"""

REST: Final = """
-- Let another server send. KEYS[1] sender; ARGV: who sent
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 'ok'
"""
