# One image for every role (api, projector, worker, migrate); compose decides which one a container plays.

FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json ./
# Not `npm ci`: exact versions stand in package.json, and a lockfile would lack other platforms' optional packages.
RUN npm install --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json nest-cli.json ./
COPY src ./src
RUN npm run build && npm prune --omit=dev --no-audit --no-fund

FROM node:22-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY drizzle ./drizzle
# What the hub keeps when it runs its own PostgreSQL; mount a volume here to keep it.
RUN mkdir /data && chown node:node /data
VOLUME /data
ENV ONHAND_DATA_DIR=/data ONHAND_HOST=0.0.0.0 ONHAND_PORT=3000 ONHAND_LOG_JSON=true
# Not root: PostgreSQL refuses to run as root, and nothing here needs it.
USER node
EXPOSE 3000
# For containers with the api role; the other roles listen nowhere (docker-compose.yml switches it off for them).
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.ONHAND_PORT + '/v1/health/live').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# The process itself gets the signals, so a stop is orderly; `docker run --init` is not needed. Told how much it may hold, node
# collects its garbage sooner: a hub with a hundred lanes at work has a quarter less in memory, and none needs half of this.
CMD ["node", "--max-old-space-size=1024", "dist/main.js"]
