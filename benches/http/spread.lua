-- wrk: lists of articles drawn evenly.
local articles = tonumber(os.getenv("ARTICLES"))
math.randomseed(os.time())
request = function()
  return wrk.format("GET", "/api/v1/sites/default/comments?limit=25&article=article-" .. math.random(0, articles - 1))
end
