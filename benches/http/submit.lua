-- wrk: every request is another comment, over 100 articles (or $ARTICLES), from another address (the server trusts this machine's word).
local number = 0
local articles = tonumber(os.getenv("ARTICLES") or "100")
local run = tostring(os.time()) .. tostring(math.random(1, 1000000))
local text = string.rep("A comment of ordinary length, with some *emphasis* and a `word` of code. ", 5)
local headers = { ["Content-Type"] = "application/json" }

request = function()
  number = number + 1
  headers["X-Forwarded-For"] = string.format("10.%d.%d.%d", number % 250, math.floor(number / 250) % 250, math.floor(number / 62500) % 250)
  local body = string.format(
    '{"article":"article-%d","name":"Reader %d","email":"reader-%d@example.org","body":"%s %s-%d"}',
    number % articles, number % 5000, number % 5000, text, run, number)
  return wrk.format("POST", "/api/v1/sites/default/comments", headers, body)
end

local other = 0
response = function(status)
  if status ~= 202 then other = other + 1 end
end

done = function(summary)
  io.write(string.format("requests=%d errors=%d\n", summary.requests, summary.errors.status + summary.errors.read + summary.errors.timeout))
end
