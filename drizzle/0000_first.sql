CREATE TABLE "doubled_keys" (
	"cart_id" text COLLATE "C" NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"quantities" jsonb NOT NULL,
	"seen_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "doubled_keys_cart_id_key_pk" PRIMARY KEY("cart_id","key")
);
--> statement-breakpoint
CREATE TABLE "cart_comparisons" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"cart_id" text COLLATE "C" NOT NULL,
	"generation" integer NOT NULL,
	"worker" text NOT NULL,
	"started_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"ended_at" timestamp (3) with time zone,
	"error" text,
	"looked" integer DEFAULT 0 NOT NULL,
	"equal" integer DEFAULT 0 NOT NULL,
	"differing" integer DEFAULT 0 NOT NULL,
	"busy" integer DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE TABLE "drifts" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "drifts_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"cart_id" text COLLATE "C" NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"sku" text COLLATE "C" NOT NULL,
	"state" text DEFAULT 'suspected' NOT NULL,
	"class" text,
	"candidates" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"raised_by" text NOT NULL,
	"delivery_id" uuid,
	"shown" bigint,
	"should" bigint NOT NULL,
	"difference" bigint,
	"evidence" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"looks" integer DEFAULT 1 NOT NULL,
	"look_at" timestamp (3) with time zone,
	"mark" text,
	"suspected_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"confirmed_at" timestamp (3) with time zone,
	"correcting_from" timestamp (3) with time zone,
	"ended_at" timestamp (3) with time zone,
	"resolution" text,
	"ended_by" text,
	"reason" text,
	CONSTRAINT "drifts_state" CHECK (state in ('suspected', 'confirmed', 'parked', 'repaired', 'accepted', 'cleared')),
	CONSTRAINT "drifts_end" CHECK ((state in ('repaired', 'accepted', 'cleared')) = (ended_at is not null))
);
--> statement-breakpoint
CREATE TABLE "attempts" (
	"id" uuid PRIMARY KEY NOT NULL,
	"delivery_id" uuid NOT NULL,
	"cart_id" text COLLATE "C" NOT NULL,
	"take" integer NOT NULL,
	"kind" text NOT NULL,
	"serial" boolean NOT NULL,
	"worker" text NOT NULL,
	"started_at" timestamp (3) with time zone NOT NULL,
	"deadline" timestamp (3) with time zone NOT NULL,
	"ended_at" timestamp (3) with time zone,
	"outcome" text,
	"response" text,
	"duration_ms" integer
);
--> statement-breakpoint
CREATE TABLE "cart_secrets" (
	"cart_id" text COLLATE "C" PRIMARY KEY NOT NULL,
	"key_id" text NOT NULL,
	"ciphertext" "bytea" NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "deliveries" (
	"id" uuid PRIMARY KEY NOT NULL,
	"cart_id" text COLLATE "C" NOT NULL,
	"generation" integer NOT NULL,
	"state" text DEFAULT 'dispatched' NOT NULL,
	"take" integer DEFAULT 1 NOT NULL,
	"probe" boolean DEFAULT false NOT NULL,
	"ambiguous" boolean DEFAULT false NOT NULL,
	"resends" integer DEFAULT 0 NOT NULL,
	"tries" integer DEFAULT 0 NOT NULL,
	"queued_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"next_attempt_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"closed_at" timestamp (3) with time zone,
	CONSTRAINT "deliveries_state" CHECK (state in ('dispatched', 'in-doubt', 'closed'))
);
--> statement-breakpoint
CREATE TABLE "delivery_lines" (
	"delivery_id" uuid NOT NULL,
	"line_no" integer NOT NULL,
	"cart_id" text COLLATE "C" NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"delta" bigint NOT NULL,
	"state" text DEFAULT 'in-flight' NOT NULL,
	"outcome" text,
	"response" text,
	"q0" bigint,
	"q0_from" timestamp (3) with time zone,
	"q0_to" timestamp (3) with time zone,
	"quantity" bigint,
	"settle_at" timestamp (3) with time zone,
	"reopened_at" timestamp (3) with time zone,
	"compared_at" timestamp (3) with time zone,
	"look_at" timestamp (3) with time zone,
	"evidence" jsonb,
	"ended_at" timestamp (3) with time zone,
	CONSTRAINT "delivery_lines_delivery_id_line_no_pk" PRIMARY KEY("delivery_id","line_no"),
	CONSTRAINT "delivery_lines_state" CHECK (state in ('in-flight', 'in-doubt', 'quarantined', 'done'))
);
--> statement-breakpoint
CREATE TABLE "flag_calls" (
	"cart_id" text COLLATE "C" NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"said" text NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"last_response" text,
	"refused" boolean DEFAULT false NOT NULL,
	"retry_at" timestamp (3) with time zone NOT NULL,
	"quiet_at" timestamp (3) with time zone NOT NULL,
	"confirmed_at" timestamp (3) with time zone,
	CONSTRAINT "flag_calls_cart_id_key_pk" PRIMARY KEY("cart_id","key")
);
--> statement-breakpoint
CREATE TABLE "lane_workers" (
	"cart_id" text COLLATE "C" NOT NULL,
	"worker" text NOT NULL,
	"refusal" text,
	CONSTRAINT "lane_workers_cart_id_worker_pk" PRIMARY KEY("cart_id","worker")
);
--> statement-breakpoint
CREATE TABLE "lanes" (
	"cart_id" text COLLATE "C" PRIMARY KEY NOT NULL,
	"paused" boolean DEFAULT false NOT NULL,
	"paused_by" text,
	"paused_reason" text,
	"paused_at" timestamp (3) with time zone,
	"down_since" timestamp (3) with time zone,
	"probes" integer DEFAULT 0 NOT NULL,
	"next_probe_at" timestamp (3) with time zone,
	"last_response" text,
	"busy_until" timestamp (3) with time zone,
	"comparing_until" timestamp (3) with time zone,
	"opened_at" timestamp (3) with time zone,
	"last_success_at" timestamp (3) with time zone,
	"job_window" integer,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "order_polls" (
	"cart_id" text COLLATE "C" PRIMARY KEY NOT NULL,
	"mark" text,
	"started_at" timestamp (3) with time zone,
	"ended_at" timestamp (3) with time zone,
	"last_error" text,
	"orders_seen" bigint DEFAULT 0 NOT NULL,
	"recent" jsonb DEFAULT '[]' NOT NULL,
	"before" jsonb DEFAULT '[]' NOT NULL,
	"day" text,
	"before_day" text,
	"overlapped_at" timestamp (3) with time zone,
	"deep_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "order_refusals" (
	"cart_id" text COLLATE "C" NOT NULL,
	"number" text COLLATE "C" NOT NULL,
	"detail" text NOT NULL,
	"keys" jsonb NOT NULL,
	"refused_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "order_refusals_cart_id_number_pk" PRIMARY KEY("cart_id","number")
);
--> statement-breakpoint
CREATE TABLE "cart_probes" (
	"id" uuid PRIMARY KEY NOT NULL,
	"cart_id" text COLLATE "C" NOT NULL,
	"wish" jsonb NOT NULL,
	"by" text NOT NULL,
	"state" text DEFAULT 'waiting' NOT NULL,
	"steps" jsonb DEFAULT '[]' NOT NULL,
	"touched" jsonb,
	"result" jsonb,
	"error" text,
	"asked_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"ended_at" timestamp (3) with time zone,
	CONSTRAINT "cart_probes_state" CHECK (state in ('waiting', 'running', 'done', 'failed'))
);
--> statement-breakpoint
CREATE TABLE "qoh_run_rows" (
	"run_id" uuid NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"sku" text COLLATE "C" NOT NULL,
	"shown" bigint NOT NULL,
	"should" bigint NOT NULL,
	"direction" text NOT NULL,
	CONSTRAINT "qoh_run_rows_run_id_key_pk" PRIMARY KEY("run_id","key")
);
--> statement-breakpoint
CREATE TABLE "qoh_runs" (
	"id" uuid PRIMARY KEY NOT NULL,
	"cart_id" text COLLATE "C" NOT NULL,
	"direction" text NOT NULL,
	"scope" jsonb NOT NULL,
	"preview" boolean NOT NULL,
	"create_new_products" boolean DEFAULT false NOT NULL,
	"by" text NOT NULL,
	"repeat_key" text,
	"state" text DEFAULT 'running' NOT NULL,
	"phase" text DEFAULT 'looking' NOT NULL,
	"total" bigint,
	"looked" bigint DEFAULT 0 NOT NULL,
	"differing" bigint DEFAULT 0 NOT NULL,
	"zeroed" bigint DEFAULT 0 NOT NULL,
	"inflated" bigint DEFAULT 0 NOT NULL,
	"equal" bigint DEFAULT 0 NOT NULL,
	"differences" bigint DEFAULT 0 NOT NULL,
	"dangerous" bigint DEFAULT 0 NOT NULL,
	"let_pass" bigint,
	"created" bigint DEFAULT 0 NOT NULL,
	"notes" jsonb NOT NULL,
	"looks" integer DEFAULT 0 NOT NULL,
	"why" text,
	"fault" text,
	"started_at" timestamp (3) with time zone,
	"phase_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"ended_at" timestamp (3) with time zone,
	CONSTRAINT "qoh_runs_state" CHECK (state in ('running', 'held', 'done', 'cancelled', 'failed')),
	CONSTRAINT "qoh_runs_end" CHECK ((state in ('running', 'held')) = (ended_at is null))
);
--> statement-breakpoint
CREATE TABLE "commands" (
	"client" text COLLATE "C" NOT NULL,
	"idempotency_key" text COLLATE "C" NOT NULL,
	"body_hash" "bytea" NOT NULL,
	"transaction_id" "xid8" DEFAULT pg_current_xact_id() NOT NULL,
	"answer" jsonb,
	"recorded_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "commands_client_idempotency_key_pk" PRIMARY KEY("client","idempotency_key")
);
--> statement-breakpoint
CREATE TABLE "events" (
	"generation" integer NOT NULL,
	"transaction_id" "xid8" DEFAULT pg_current_xact_id() NOT NULL,
	"position" bigint GENERATED ALWAYS AS IDENTITY (sequence name "events_position_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 50),
	"stream" text COLLATE "C" NOT NULL,
	"version" bigint NOT NULL,
	"type" text NOT NULL,
	"shape" smallint DEFAULT 1 NOT NULL,
	"data" jsonb NOT NULL,
	"sku" text COLLATE "C",
	"location" text COLLATE "C",
	"delta" bigint,
	"open_delta" bigint,
	"balance" bigint,
	"open_balance" bigint,
	"occurred_at" timestamp (3) with time zone NOT NULL,
	"recorded_at" timestamp (3) with time zone NOT NULL,
	"causation_id" text NOT NULL,
	CONSTRAINT "events_generation_transaction_id_position_pk" PRIMARY KEY("generation","transaction_id","position")
);
--> statement-breakpoint
CREATE TABLE "log_generation" (
	"generation" integer PRIMARY KEY NOT NULL,
	"system_identifier" text NOT NULL,
	"started_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "stream_heads" (
	"stream" text COLLATE "C" PRIMARY KEY NOT NULL,
	"version" bigint NOT NULL,
	"state" jsonb NOT NULL,
	"recorded_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "api_keys" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"prefix" text NOT NULL,
	"hash" "bytea" NOT NULL,
	"scope" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (3) with time zone,
	"last_used_at" timestamp (3) with time zone,
	"revoked_at" timestamp (3) with time zone,
	CONSTRAINT "api_keys_scope" CHECK ("api_keys"."scope" in ('read', 'operate', 'admin'))
);
--> statement-breakpoint
CREATE TABLE "count_entries" (
	"session_id" uuid NOT NULL,
	"sku" text COLLATE "C" NOT NULL,
	"round" integer NOT NULL,
	"quantity" bigint NOT NULL,
	"counted_at" timestamp (3) with time zone NOT NULL,
	"by" text NOT NULL,
	CONSTRAINT "count_entries_session_id_sku_round_pk" PRIMARY KEY("session_id","sku","round")
);
--> statement-breakpoint
CREATE TABLE "count_sessions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"location" text COLLATE "C" NOT NULL,
	"includes_open_orders" boolean NOT NULL,
	"tolerance_units" integer NOT NULL,
	"tolerance_percent" integer NOT NULL,
	"state" text DEFAULT 'open' NOT NULL,
	"by" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"ended_by" text,
	"ended_at" timestamp (3) with time zone,
	"reason" text,
	CONSTRAINT "count_sessions_state" CHECK (state in ('open', 'approving', 'approved', 'cancelled'))
);
--> statement-breakpoint
CREATE TABLE "reset_files" (
	"id" uuid PRIMARY KEY NOT NULL,
	"source_id" text COLLATE "C" NOT NULL,
	"name" text COLLATE "C" NOT NULL,
	"size" bigint NOT NULL,
	"modified_at" timestamp (3) with time zone NOT NULL,
	"state" text NOT NULL,
	"seen_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"taken_at" timestamp (3) with time zone,
	"hash" "bytea",
	"as_of" timestamp (3) with time zone,
	"import_id" uuid,
	"by" text NOT NULL,
	"problem" text,
	"report" jsonb,
	"archived_as" text,
	"archive_tries" integer DEFAULT 0 NOT NULL,
	"ended_at" timestamp (3) with time zone,
	CONSTRAINT "reset_files_state" CHECK (state in ('seen', 'taken', 'applied', 'refused', 'rejected', 'repeated', 'older'))
);
--> statement-breakpoint
CREATE TABLE "reset_looks" (
	"source_id" text COLLATE "C" PRIMARY KEY NOT NULL,
	"looked_at" timestamp (3) with time zone,
	"problem" text,
	"expected_since" timestamp (3) with time zone,
	"expected_until" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "import_rows" (
	"import_id" uuid NOT NULL,
	"row" integer NOT NULL,
	"command_row" integer NOT NULL,
	"cells" jsonb NOT NULL,
	"fields" jsonb,
	"sku" text COLLATE "C",
	"location" text COLLATE "C",
	"identity" text COLLATE "C",
	"hash" "bytea",
	"outcome" text,
	"problem_column" text,
	"detail" text,
	CONSTRAINT "import_rows_import_id_row_pk" PRIMARY KEY("import_id","row"),
	CONSTRAINT "import_rows_outcome" CHECK (outcome in ('applied', 'unchanged', 'refused'))
);
--> statement-breakpoint
CREATE TABLE "imports" (
	"id" uuid PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"state" text DEFAULT 'receiving' NOT NULL,
	"on_error" text NOT NULL,
	"preview" boolean NOT NULL,
	"cart_id" text,
	"reset" jsonb,
	"reset_check" jsonb,
	"held" text,
	"client" text COLLATE "C" NOT NULL,
	"by" text NOT NULL,
	"idempotency_key" text COLLATE "C",
	"body_hash" "bytea",
	"columns" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"received" integer DEFAULT 0 NOT NULL,
	"refused" integer DEFAULT 0 NOT NULL,
	"applied" integer DEFAULT 0 NOT NULL,
	"unchanged" integer DEFAULT 0 NOT NULL,
	"last_row" integer DEFAULT 0 NOT NULL,
	"validated_through" integer DEFAULT 0 NOT NULL,
	"applied_through" integer DEFAULT 0 NOT NULL,
	"problem" text,
	"fault" text,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"apply_started_at" timestamp (3) with time zone,
	"ended_at" timestamp (3) with time zone,
	CONSTRAINT "imports_state" CHECK (state in ('receiving','validating','ready','applying','done','refused','cancelled')),
	CONSTRAINT "imports_end" CHECK ((state in ('done','refused','cancelled')) = (ended_at is not null))
);
--> statement-breakpoint
CREATE TABLE "projection_differences" (
	"run_id" uuid NOT NULL,
	"n" integer NOT NULL,
	"promise" text NOT NULL,
	"subject" jsonb NOT NULL,
	"stored" jsonb,
	"follows" jsonb,
	CONSTRAINT "projection_differences_run_id_n_pk" PRIMARY KEY("run_id","n")
);
--> statement-breakpoint
CREATE TABLE "projection_runs" (
	"id" uuid PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"projection" text NOT NULL,
	"apply" boolean NOT NULL,
	"state" text DEFAULT 'running' NOT NULL,
	"by" text NOT NULL,
	"phase" text NOT NULL,
	"cursor" text DEFAULT '' NOT NULL,
	"done" bigint DEFAULT 0 NOT NULL,
	"total" bigint,
	"listings" bigint DEFAULT 0 NOT NULL,
	"found" bigint DEFAULT 0 NOT NULL,
	"mended" bigint DEFAULT 0 NOT NULL,
	"records" bigint DEFAULT 0 NOT NULL,
	"stopped" jsonb,
	"fault" text,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"ended_at" timestamp (3) with time zone,
	CONSTRAINT "projection_runs_end" CHECK ((state = 'running') = (ended_at is null))
);
--> statement-breakpoint
CREATE TABLE "availability_settings" (
	"id" integer PRIMARY KEY DEFAULT 1 NOT NULL,
	"version" uuid NOT NULL,
	"rules_version" bigint DEFAULT 0 NOT NULL,
	"day" date,
	"slowest_cart" jsonb
);
--> statement-breakpoint
CREATE TABLE "recompute_runs" (
	"id" uuid PRIMARY KEY NOT NULL,
	"cause" jsonb NOT NULL,
	"scopes" jsonb NOT NULL,
	"state" text DEFAULT 'running' NOT NULL,
	"cursor_cart" text COLLATE "C" DEFAULT '' NOT NULL,
	"cursor_key" text COLLATE "C" DEFAULT '' NOT NULL,
	"total" bigint,
	"done" bigint DEFAULT 0 NOT NULL,
	"records" bigint DEFAULT 0 NOT NULL,
	"accepted_at" timestamp (3) with time zone NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"ended_at" timestamp (3) with time zone,
	CONSTRAINT "recompute_runs_end" CHECK ((state = 'running') = (ended_at is null))
);
--> statement-breakpoint
CREATE TABLE "rules" (
	"rule_id" text COLLATE "C" PRIMARY KEY NOT NULL,
	"rule" jsonb NOT NULL,
	"version" bigint NOT NULL,
	"saved_by" text NOT NULL,
	"saved_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "item_tags" (
	"tag" text COLLATE "C" NOT NULL,
	"sku" text COLLATE "C" NOT NULL,
	CONSTRAINT "item_tags_tag_sku_pk" PRIMARY KEY("tag","sku")
);
--> statement-breakpoint
CREATE TABLE "item_words" (
	"word" text COLLATE "C" NOT NULL,
	"sku" text COLLATE "C" NOT NULL,
	CONSTRAINT "item_words_word_sku_pk" PRIMARY KEY("word","sku")
);
--> statement-breakpoint
CREATE TABLE "items" (
	"sku" text COLLATE "C" PRIMARY KEY NOT NULL,
	"title" text NOT NULL,
	"barcode" text COLLATE "C",
	"shopify_product_id" text COLLATE "C",
	"tags" text[] NOT NULL,
	"active" boolean NOT NULL,
	"folded_sku" text COLLATE "C" NOT NULL,
	"words" text[] NOT NULL,
	"version" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "kit_components" (
	"kit" text COLLATE "C" NOT NULL,
	"component" text COLLATE "C" NOT NULL,
	"quantity" bigint NOT NULL,
	CONSTRAINT "kit_components_kit_component_pk" PRIMARY KEY("kit","component"),
	CONSTRAINT "kit_components_quantity" CHECK ("kit_components"."quantity" > 0)
);
--> statement-breakpoint
CREATE TABLE "kit_parts" (
	"kit" text COLLATE "C" NOT NULL,
	"sku" text COLLATE "C" NOT NULL,
	"quantity" bigint NOT NULL,
	CONSTRAINT "kit_parts_kit_sku_pk" PRIMARY KEY("kit","sku")
);
--> statement-breakpoint
CREATE TABLE "kits" (
	"sku" text COLLATE "C" PRIMARY KEY NOT NULL,
	"version" bigint NOT NULL,
	"saved_by" text NOT NULL,
	"saved_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "late_items" (
	"sku" text COLLATE "C" PRIMARY KEY NOT NULL,
	"id" bigint GENERATED ALWAYS AS IDENTITY (sequence name "late_items_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"cause" jsonb NOT NULL,
	"accepted_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "echoes" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "echoes_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"cart_id" text COLLATE "C" NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"delta" bigint NOT NULL,
	"order_number" text NOT NULL,
	"line" text NOT NULL,
	"seen_after" timestamp (3) with time zone,
	"seen_by" timestamp (3) with time zone NOT NULL,
	"applied" boolean NOT NULL,
	"expected_delta" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "listing_memory" (
	"cart_id" text COLLATE "C" NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"id" bigint GENERATED ALWAYS AS IDENTITY (sequence name "listing_memory_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"since" timestamp (3) with time zone NOT NULL,
	"sku" text COLLATE "C" NOT NULL,
	"generation" integer NOT NULL,
	"leant_on" bigint,
	"shown" text,
	"withheld" boolean NOT NULL,
	CONSTRAINT "listing_memory_cart_id_key_id_pk" PRIMARY KEY("cart_id","key","id")
);
--> statement-breakpoint
CREATE TABLE "listings" (
	"cart_id" text COLLATE "C" NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"sku" text COLLATE "C" NOT NULL,
	"generation" integer DEFAULT 0 NOT NULL,
	"target" bigint,
	"expected" bigint,
	"baseline_kind" text,
	"baseline_at" timestamp (3) with time zone,
	"baseline_mark" text,
	"baseline_expected" bigint,
	"baseline_record" bigint,
	"baseline_echo" bigint,
	"shown" text,
	"shown_told" text,
	"withheld" boolean DEFAULT false NOT NULL,
	"leans" boolean DEFAULT false NOT NULL,
	"unlisted" text,
	"last_quantity" bigint,
	"last_quantity_from" timestamp (3) with time zone,
	"last_quantity_to" timestamp (3) with time zone,
	"equal_at" timestamp (3) with time zone,
	CONSTRAINT "listings_cart_id_key_pk" PRIMARY KEY("cart_id","key"),
	CONSTRAINT "listings_shown" CHECK ("listings"."shown" in ('visible', 'hidden', 'backorder')),
	CONSTRAINT "listings_unlisted" CHECK ("listings"."unlisted" in ('not-found', 'not-tracked'))
);
--> statement-breakpoint
CREATE TABLE "web_stack" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "web_stack_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"cart_id" text COLLATE "C" NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"sku" text COLLATE "C" NOT NULL,
	"generation" integer NOT NULL,
	"delta" bigint NOT NULL,
	"lowers" boolean GENERATED ALWAYS AS (delta < 0) STORED NOT NULL,
	"target" bigint NOT NULL,
	"cause" jsonb NOT NULL,
	"parts" jsonb,
	"state" text DEFAULT 'waiting' NOT NULL,
	"delivery_id" uuid,
	"push" text,
	"behind" boolean DEFAULT false NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"attempts_counted" integer DEFAULT 0 NOT NULL,
	"last_response" text,
	"not_before" timestamp (3) with time zone,
	"paced_at" timestamp (3) with time zone,
	"accepted_at" timestamp (3) with time zone NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"ended_at" timestamp (3) with time zone,
	CONSTRAINT "web_stack_state" CHECK (state in ('waiting','in-flight','in-doubt','quarantined','dead-lettered','held','delivered','netted','superseded','discarded')),
	CONSTRAINT "web_stack_end" CHECK ((state in ('delivered','netted','superseded','discarded')) = (ended_at is not null)),
	CONSTRAINT "web_stack_delta" CHECK (delta <> 0)
);
--> statement-breakpoint
CREATE TABLE "cart_locations" (
	"cart_id" text COLLATE "C" NOT NULL,
	"location" text COLLATE "C" NOT NULL,
	CONSTRAINT "cart_locations_cart_id_location_pk" PRIMARY KEY("cart_id","location")
);
--> statement-breakpoint
CREATE TABLE "carts" (
	"cart_id" text COLLATE "C" PRIMARY KEY NOT NULL,
	"settings" jsonb NOT NULL,
	"is_on" boolean DEFAULT false NOT NULL,
	"generation" integer DEFAULT 0 NOT NULL,
	"clamps_at_zero" boolean GENERATED ALWAYS AS (coalesce((settings->>'clampsAtZero')::boolean, false)) STORED NOT NULL,
	"is_paced" boolean GENERATED ALWAYS AS (coalesce(settings->'cadence'->>'kind', 'real-time') <> 'real-time') STORED NOT NULL,
	"settings_version" bigint NOT NULL,
	"switched_at" timestamp (3) with time zone,
	"switch_version" bigint DEFAULT 0 NOT NULL,
	"probe" jsonb,
	"probe_version" bigint DEFAULT 0 NOT NULL,
	"script_version" text,
	"script_version_version" bigint DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE TABLE "locations" (
	"location" text COLLATE "C" PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"other_codes" text[] NOT NULL,
	"version" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "open_order_lines" (
	"source" text COLLATE "C" NOT NULL,
	"number" text COLLATE "C" NOT NULL,
	"line" text COLLATE "C" NOT NULL,
	"sku" text COLLATE "C" NOT NULL,
	"location" text COLLATE "C" NOT NULL,
	"open" bigint NOT NULL,
	"back_ordered" bigint NOT NULL,
	CONSTRAINT "open_order_lines_source_number_line_sku_location_pk" PRIMARY KEY("source","number","line","sku","location")
);
--> statement-breakpoint
CREATE TABLE "orders" (
	"source" text COLLATE "C" NOT NULL,
	"number" text COLLATE "C" NOT NULL,
	"revision" bigint NOT NULL,
	"state" text NOT NULL,
	"placed_at" timestamp (3) with time zone NOT NULL,
	"lines" jsonb NOT NULL,
	"version" bigint NOT NULL,
	"imported_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "orders_source_number_pk" PRIMARY KEY("source","number")
);
--> statement-breakpoint
CREATE TABLE "projection_checkpoints" (
	"name" text PRIMARY KEY NOT NULL,
	"generation" integer DEFAULT 0 NOT NULL,
	"transaction_id" "xid8" DEFAULT '0' NOT NULL,
	"position" bigint DEFAULT 0 NOT NULL,
	"recorded_at" timestamp (3) with time zone,
	"projector" text,
	"projector_since" timestamp (3) with time zone,
	"stopped" jsonb,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "quantity_on_hand" (
	"sku" text COLLATE "C" NOT NULL,
	"location" text COLLATE "C" NOT NULL,
	"on_hand" bigint NOT NULL,
	"open" bigint NOT NULL,
	"movements" bigint NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	"seen_at" timestamp (3) with time zone,
	CONSTRAINT "quantity_on_hand_sku_location_pk" PRIMARY KEY("sku","location")
);
--> statement-breakpoint
CREATE TABLE "reset_sources" (
	"source_id" text COLLATE "C" PRIMARY KEY NOT NULL,
	"settings" jsonb NOT NULL,
	"removed" boolean DEFAULT false NOT NULL,
	"version" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "system_switch" (
	"id" integer PRIMARY KEY DEFAULT 1 NOT NULL,
	"is_on" boolean NOT NULL,
	"version" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "velocity" (
	"sku" text COLLATE "C" NOT NULL,
	"location" text COLLATE "C" NOT NULL,
	"day" date NOT NULL,
	"sold" bigint NOT NULL,
	"cancelled" bigint NOT NULL,
	"returned" bigint NOT NULL,
	"movements" bigint NOT NULL,
	CONSTRAINT "velocity_sku_location_day_pk" PRIMARY KEY("sku","location","day")
);
--> statement-breakpoint
CREATE TABLE "pushes" (
	"push" text COLLATE "C" NOT NULL,
	"cart_id" text COLLATE "C" NOT NULL,
	"kind" text NOT NULL,
	"title" text NOT NULL,
	"state" text DEFAULT 'collecting' NOT NULL,
	"changed" integer DEFAULT 0 NOT NULL,
	"zeroed" integer DEFAULT 0 NOT NULL,
	"inflated" integer DEFAULT 0 NOT NULL,
	"listings" integer,
	"why" text,
	"opened_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"judged_at" timestamp (3) with time zone,
	"decided_at" timestamp (3) with time zone,
	"decided_by" text,
	"reason" text,
	"released_to" bigint,
	CONSTRAINT "pushes_push_cart_id_pk" PRIMARY KEY("push","cart_id"),
	CONSTRAINT "pushes_state" CHECK (state in ('collecting', 'passed', 'held', 'let-through', 'rejected'))
);
--> statement-breakpoint
CREATE TABLE "unknown_order_lines" (
	"cart_id" text COLLATE "C" NOT NULL,
	"number" text COLLATE "C" NOT NULL,
	"line" text COLLATE "C" NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"quantity" bigint NOT NULL,
	"mapped_to" text COLLATE "C",
	CONSTRAINT "unknown_order_lines_cart_id_number_line_pk" PRIMARY KEY("cart_id","number","line")
);
--> statement-breakpoint
CREATE TABLE "unknown_skus" (
	"cart_id" text COLLATE "C" NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"title" text,
	"first_met_in" text NOT NULL,
	"first_met_at" timestamp (3) with time zone NOT NULL,
	"last_met_in" text NOT NULL,
	"last_met_at" timestamp (3) with time zone NOT NULL,
	"times_met" integer NOT NULL,
	"ignored_reason" text,
	"ignored_by" text,
	"ignored_at" timestamp (3) with time zone,
	CONSTRAINT "unknown_skus_cart_id_key_pk" PRIMARY KEY("cart_id","key")
);
--> statement-breakpoint
CREATE UNIQUE INDEX "cart_comparisons_one_at_a_time" ON "cart_comparisons" USING btree ("cart_id") WHERE ended_at is null;--> statement-breakpoint
CREATE INDEX "cart_comparisons_cart" ON "cart_comparisons" USING btree ("cart_id","started_at");--> statement-breakpoint
CREATE UNIQUE INDEX "drifts_one_open_per_listing" ON "drifts" USING btree ("cart_id","key") WHERE ended_at is null;--> statement-breakpoint
CREATE INDEX "drifts_to_look_at" ON "drifts" USING btree ("look_at") WHERE ended_at is null and look_at is not null;--> statement-breakpoint
CREATE INDEX "drifts_listing" ON "drifts" USING btree ("cart_id","key","ended_at");--> statement-breakpoint
CREATE UNIQUE INDEX "attempts_one_open_per_delivery" ON "attempts" USING btree ("delivery_id") WHERE ended_at is null;--> statement-breakpoint
CREATE UNIQUE INDEX "attempts_one_open_per_serial_cart" ON "attempts" USING btree ("cart_id") WHERE ended_at is null and serial;--> statement-breakpoint
CREATE INDEX "attempts_delivery" ON "attempts" USING btree ("delivery_id","started_at");--> statement-breakpoint
CREATE INDEX "deliveries_open" ON "deliveries" USING btree ("cart_id","created_at") WHERE state <> 'closed';--> statement-breakpoint
CREATE UNIQUE INDEX "delivery_lines_one_per_listing" ON "delivery_lines" USING btree ("cart_id","key") WHERE state in ('in-flight', 'in-doubt', 'quarantined');--> statement-breakpoint
CREATE INDEX "delivery_lines_listing" ON "delivery_lines" USING btree ("cart_id","key","ended_at");--> statement-breakpoint
CREATE INDEX "delivery_lines_reopened" ON "delivery_lines" USING btree ("cart_id") WHERE reopened_at is not null and compared_at is null;--> statement-breakpoint
CREATE INDEX "delivery_lines_to_look_at" ON "delivery_lines" USING btree ("cart_id","look_at") WHERE look_at is not null;--> statement-breakpoint
CREATE INDEX "delivery_lines_settled" ON "delivery_lines" USING btree ("cart_id","key") WHERE outcome in ('settled as applied', 'settled as not applied') and reopened_at is null;--> statement-breakpoint
CREATE INDEX "flag_calls_refused" ON "flag_calls" USING btree ("cart_id","key") WHERE refused;--> statement-breakpoint
CREATE UNIQUE INDEX "cart_probes_one_per_cart" ON "cart_probes" USING btree ("cart_id") WHERE state in ('waiting', 'running');--> statement-breakpoint
CREATE INDEX "cart_probes_cart" ON "cart_probes" USING btree ("cart_id","asked_at");--> statement-breakpoint
CREATE UNIQUE INDEX "qoh_runs_one_of_cart" ON "qoh_runs" USING btree ("cart_id") WHERE state in ('running', 'held') and not preview;--> statement-breakpoint
CREATE UNIQUE INDEX "qoh_runs_repeat_key" ON "qoh_runs" USING btree ("repeat_key") WHERE repeat_key is not null;--> statement-breakpoint
CREATE INDEX "qoh_runs_created_at" ON "qoh_runs" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "qoh_runs_cart" ON "qoh_runs" USING btree ("cart_id","created_at","id");--> statement-breakpoint
CREATE INDEX "qoh_runs_open" ON "qoh_runs" USING btree ("created_at") WHERE state in ('running', 'held');--> statement-breakpoint
CREATE UNIQUE INDEX "events_stream_version" ON "events" USING btree ("stream","version");--> statement-breakpoint
CREATE INDEX "events_stream_occurred_at" ON "events" USING btree ("stream","occurred_at") WHERE delta is not null;--> statement-breakpoint
CREATE INDEX "events_cart_settings" ON "events" USING btree ("stream","version") WHERE type in ('CartAdded', 'CartChanged', 'CartSwitched');--> statement-breakpoint
CREATE INDEX "events_sku_ledger" ON "events" USING btree ("sku","generation","transaction_id","position") WHERE delta is not null;--> statement-breakpoint
CREATE INDEX "events_reference" ON "events" USING btree ((data -> 'reference' ->> 'kind'),(data -> 'reference' ->> 'number'),"generation","transaction_id","position") WHERE delta is not null and (data -> 'reference' ->> 'number') is not null;--> statement-breakpoint
CREATE INDEX "api_keys_prefix" ON "api_keys" USING btree ("prefix");--> statement-breakpoint
CREATE INDEX "count_sessions_newest" ON "count_sessions" USING btree ("created_at","id");--> statement-breakpoint
CREATE UNIQUE INDEX "reset_files_same" ON "reset_files" USING btree ("source_id","name","size","modified_at");--> statement-breakpoint
CREATE UNIQUE INDEX "reset_files_seen" ON "reset_files" USING btree ("source_id","name") WHERE state = 'seen';--> statement-breakpoint
CREATE INDEX "reset_files_content" ON "reset_files" USING btree ("source_id","hash") WHERE state in ('taken', 'applied');--> statement-breakpoint
CREATE INDEX "reset_files_newest" ON "reset_files" USING btree ("seen_at","id");--> statement-breakpoint
CREATE INDEX "reset_files_under_way" ON "reset_files" USING btree ("source_id") WHERE state in ('seen', 'taken');--> statement-breakpoint
CREATE INDEX "import_rows_identity" ON "import_rows" USING btree ("import_id","identity","row") WHERE identity is not null;--> statement-breakpoint
CREATE INDEX "import_rows_sku" ON "import_rows" USING btree ("import_id","sku") WHERE outcome is null and sku is not null;--> statement-breakpoint
CREATE INDEX "import_rows_refused" ON "import_rows" USING btree ("import_id","row") WHERE outcome = 'refused';--> statement-breakpoint
CREATE UNIQUE INDEX "imports_key" ON "imports" USING btree ("client","idempotency_key");--> statement-breakpoint
CREATE INDEX "imports_created_at" ON "imports" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "imports_under_way" ON "imports" USING btree ("id") WHERE state in ('receiving', 'validating', 'applying');--> statement-breakpoint
CREATE UNIQUE INDEX "projection_runs_one_running" ON "projection_runs" USING btree ("kind","projection") WHERE state = 'running';--> statement-breakpoint
CREATE INDEX "projection_runs_created_at" ON "projection_runs" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "recompute_runs_running" ON "recompute_runs" USING btree ("created_at","id") WHERE state = 'running';--> statement-breakpoint
CREATE INDEX "recompute_runs_created_at" ON "recompute_runs" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "items_folded_sku" ON "items" USING btree ("folded_sku","sku");--> statement-breakpoint
CREATE INDEX "items_alike" ON "items" USING btree (lower(regexp_replace(btrim(sku), '\s+', ' ', 'g')),"sku");--> statement-breakpoint
CREATE INDEX "items_barcode" ON "items" USING btree (lower("barcode"),"sku") WHERE barcode is not null;--> statement-breakpoint
CREATE INDEX "items_shopify_product_id" ON "items" USING btree ("shopify_product_id","sku") WHERE shopify_product_id is not null;--> statement-breakpoint
CREATE INDEX "items_active" ON "items" USING btree ("sku") WHERE active;--> statement-breakpoint
CREATE INDEX "items_inactive" ON "items" USING btree ("sku") WHERE not active;--> statement-breakpoint
CREATE INDEX "kit_components_component" ON "kit_components" USING btree ("component","kit");--> statement-breakpoint
CREATE INDEX "kit_parts_sku" ON "kit_parts" USING btree ("sku","kit");--> statement-breakpoint
CREATE INDEX "late_items_order" ON "late_items" USING btree ("id");--> statement-breakpoint
CREATE INDEX "echoes_listing" ON "echoes" USING btree ("cart_id","key","seen_by");--> statement-breakpoint
CREATE INDEX "listings_sku" ON "listings" USING btree ("sku","cart_id");--> statement-breakpoint
CREATE INDEX "listings_alike" ON "listings" USING btree ("cart_id",lower(regexp_replace(btrim(key), '\s+', ' ', 'g')),"key");--> statement-breakpoint
CREATE INDEX "listings_flags" ON "listings" USING btree ("cart_id","key") WHERE shown is distinct from shown_told;--> statement-breakpoint
CREATE INDEX "web_stack_waiting" ON "web_stack" USING btree ("cart_id","key","id") WHERE state in ('waiting', 'in-flight', 'in-doubt', 'quarantined', 'dead-lettered', 'held');--> statement-breakpoint
CREATE INDEX "web_stack_backing_off" ON "web_stack" USING btree ("cart_id","not_before") WHERE state = 'waiting' and not_before is not null;--> statement-breakpoint
CREATE INDEX "web_stack_paced" ON "web_stack" USING btree ("cart_id","paced_at") WHERE state = 'waiting' and paced_at is not null;--> statement-breakpoint
CREATE INDEX "web_stack_ahead" ON "web_stack" USING btree ("cart_id","behind","id") WHERE state = 'waiting';--> statement-breakpoint
CREATE INDEX "web_stack_lowering" ON "web_stack" USING btree ("cart_id","behind","id") WHERE state = 'waiting' and lowers;--> statement-breakpoint
CREATE INDEX "web_stack_cart_state" ON "web_stack" USING btree ("cart_id","state","id");--> statement-breakpoint
CREATE INDEX "web_stack_delivery" ON "web_stack" USING btree ("delivery_id") WHERE delivery_id is not null;--> statement-breakpoint
CREATE INDEX "web_stack_held" ON "web_stack" USING btree ("push","cart_id","id") WHERE state = 'held';--> statement-breakpoint
CREATE INDEX "web_stack_sku" ON "web_stack" USING btree ("sku","id");--> statement-breakpoint
CREATE INDEX "cart_locations_location" ON "cart_locations" USING btree ("location");--> statement-breakpoint
CREATE INDEX "locations_other_codes" ON "locations" USING gin ("other_codes");--> statement-breakpoint
CREATE INDEX "open_order_lines_stock" ON "open_order_lines" USING btree ("sku","location");--> statement-breakpoint
CREATE INDEX "orders_placed_at" ON "orders" USING btree ("placed_at","source","number");--> statement-breakpoint
CREATE INDEX "pushes_held" ON "pushes" USING btree ("opened_at") WHERE state in ('collecting', 'held');--> statement-breakpoint
CREATE INDEX "pushes_releasing" ON "pushes" USING btree ("opened_at","push","cart_id") WHERE released_to is not null;--> statement-breakpoint
CREATE INDEX "unknown_order_lines_key" ON "unknown_order_lines" USING btree ("cart_id","key");--> statement-breakpoint
CREATE INDEX "unknown_order_lines_sku" ON "unknown_order_lines" USING btree ("key");--> statement-breakpoint
CREATE INDEX "unknown_order_lines_mapped" ON "unknown_order_lines" USING btree ("cart_id","number") WHERE mapped_to is not null;--> statement-breakpoint
CREATE INDEX "unknown_skus_key" ON "unknown_skus" USING btree ("key");--> statement-breakpoint
CREATE INDEX "unknown_skus_heeded" ON "unknown_skus" USING btree ("cart_id","key") WHERE ignored_at is null;