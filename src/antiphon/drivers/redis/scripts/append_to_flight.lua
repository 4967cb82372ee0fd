-- KEYS: flight, followers, log. ARGV: epoch, number of the first piece, lease (ms), kept (ms), next epoch, channels,
-- flight, pieces.
-- Returns whether it is led in this epoch.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch == ARGV[5] then
    return 1
end
if epoch ~= ARGV[1] then
    return 0
end
local told = redis.call('LLEN', KEYS[3])
if told < tonumber(ARGV[2]) then
    return 0
end
for i = 8 + told - ARGV[2], #ARGV do
    redis.call('RPUSH', KEYS[3], ARGV[i])
end
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
for _, process in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    redis.call('PUBLISH', ARGV[6] .. process, ARGV[7])
end
if ARGV[5] ~= '' then
    redis.call('HSET', KEYS[1], 'epoch', ARGV[5])
    redis.call('DEL', KEYS[2])
end
return 1
