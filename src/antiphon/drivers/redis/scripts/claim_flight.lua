-- KEYS: flight, followers. ARGV: epoch, process, lease (ms), presence (ms), channels, flight.
-- Returns the epoch that is followed, nothing if it is led now.
local led = redis.call('HMGET', KEYS[1], 'epoch', 'leader')
if not led[1] or led[1] == ARGV[1] then
    redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'leader', ARGV[2])
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
    redis.call('DEL', KEYS[2])
    return false
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[2], now + ARGV[4], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', ARGV[5] .. led[2], ARGV[6])
return led[1]
