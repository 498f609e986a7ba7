<?php
/*
 * Onhand bridge for X-Cart 4, and for X-Cart 5 by its tables.
 *
 * Upload this one file into the folder of your shop, beside its index.php or home.php, and open it in a browser: it says
 * what to do next. How to set it up, step by step: docs/carts/x-cart.md of Onhand.
 */
$onhand_settings = array(
    // The secret that Onhand signs its requests with: whsec_ and some letters. Open this file in a browser to get one.
    'secret' => '',

    // Only for Stone Edge Order Manager, or anything else that speaks its protocol (SETI). Empty: SETI is off.
    'seti_user' => '',
    'seti_password' => '',
    'seti_code' => '',

    // Requests must come over https. Set to true only for a shop without https that you try things with.
    'allow_http' => false,
    // Set to true where https ends at a proxy in front of the shop, and that proxy sets X-Forwarded-Proto itself.
    'trust_forwarded_proto' => false,

    // The shop's own settings are read from config.php (X-Cart 4) or etc/config.php (X-Cart 5). Fill these in only where
    // that does not work.
    'db_host' => '',
    'db_user' => '',
    'db_password' => '',
    'db_name' => '',
    'table_prefix' => '',
    // What this file talks to the database in. A shop that was moved from an old server may need 'latin1'.
    'db_charset' => 'utf8mb4',
    'time_zone' => '',

    // Order statuses that mean "cancelled" and "shipped": letters in X-Cart 4 (D, F and C), numbers in X-Cart 5.
    'cancelled_statuses' => array(),
    'shipped_statuses' => array(),
    // Orders older than this many days are not looked at any more.
    'watch_days' => 60,

    // To remove the bridge: set to true, open this file in a browser, then delete it.
    'uninstall' => false,
);
/* End of the settings. Nothing below has to be changed. */
/*
 * Written for PHP 5.6 to 8.x with mysqli. Made by bridge/build.mjs from bridge/parts/; change those, not this file.
 */
define('ONHAND_BRIDGE_VERSION', '1.0');
define('ONHAND_LINES_MAX', 500);
define('ONHAND_BODY_BYTES_MAX', 2097152);
/* A copied request is worthless after this many seconds. */
define('ONHAND_TOLERANCE_S', 300);

/* What a shop's own files print, and what PHP itself wants to say, must not end up in an answer. */
@ini_set('display_errors', '0');
ob_start();

/** Something to tell the caller. The message holds nothing secret, whatever was wrong. */
class OnhandRefusal extends Exception
{
    public $status;

    public function __construct($status, $message)
    {
        parent::__construct($message);
        $this->status = $status;
    }
}


function onhand_main($settings)
{
    $seti = isset($_GET['setifunction']) || isset($_POST['setifunction']);
    try {
        $method = isset($_SERVER['REQUEST_METHOD']) ? $_SERVER['REQUEST_METHOD'] : 'GET';
        onhand_require_https($settings);
        if ($seti) {
            $answer = onhand_seti($settings, $_POST + $_GET);
            onhand_answer(200, $answer['type'], $answer['body']);
        } elseif ($method === 'POST') {
            $body = (string) file_get_contents('php://input', false, null, 0, ONHAND_BODY_BYTES_MAX + 1);
            $id = onhand_verify($settings, $body);
            onhand_json(200, onhand_serve($settings, $id, $body));
        } elseif ($method === 'GET' || $method === 'HEAD') {
            onhand_answer(200, 'text/html; charset=utf-8', onhand_page($settings));
        } else {
            throw new OnhandRefusal(405, 'Send a POST.');
        }
    } catch (OnhandRefusal $refusal) {
        onhand_fail($seti, $refusal->status, $refusal->getMessage());
    } catch (Exception $error) {
        onhand_failed($seti, $error);
    } catch (Error $error) {
        onhand_failed($seti, $error);
    }
}

/** Where the fault was goes to the server's own log; the caller learns that there was one. */
function onhand_failed($seti, $error)
{
    error_log('onhand bridge: ' . get_class($error) . ' in line ' . $error->getLine()
        . ($error instanceof OnhandDatabaseError ? ', database error ' . $error->getCode() : ''));
    $text = $error instanceof OnhandDatabaseError ? $error->forCaller() : 'The bridge failed; the server\'s error log says where.';
    onhand_fail($seti, 500, $text);
}

function onhand_fail($seti, $status, $message)
{
    // SETI tells errors in words, with status 200, as every script of its kind does.
    $method = isset($_SERVER['REQUEST_METHOD']) ? $_SERVER['REQUEST_METHOD'] : 'GET';
    if ($seti) {
        onhand_answer(200, 'text/plain; charset=utf-8', 'SETIError: ' . $message);
    } elseif ($method === 'GET' || $method === 'HEAD') {
        // Somebody looks at it in a browser.
        onhand_answer($status, 'text/html; charset=utf-8', onhand_html('Something is in the way',
            '<p class="bad">' . htmlspecialchars($message, ENT_QUOTES, 'UTF-8') . '</p>'));
    } else {
        onhand_json($status, array('error' => $message));
    }
}

function onhand_json($status, $value)
{
    onhand_answer($status, 'application/json; charset=utf-8', is_string($value) ? $value : onhand_encode($value));
}

function onhand_encode($value)
{
    $flags = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES;
    $text = json_encode($value, $flags);
    if ($text === false) {
        throw new OnhandRefusal(500, 'The answer holds text that is not UTF-8; look at db_charset in the settings.');
    }
    return $text;
}

function onhand_answer($status, $type, $body)
{
    global $onhand_answered;
    $onhand_answered = true;
    while (ob_get_level() > 0) {
        ob_end_clean();
    }
    if (!headers_sent()) {
        // A shop's file may have set some of its own, a redirect to its installer among them.
        header_remove();
        http_response_code($status);
        header('Content-Type: ' . $type);
        header('Cache-Control: no-store');
        header('X-Content-Type-Options: nosniff');
        header('X-Robots-Tag: noindex');
        header("Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
        header('Content-Length: ' . strlen($body));
    }
    echo $body;
}

/** A fatal error of PHP leaves no time for catch; its text may hold paths and passwords, so it is not repeated. */
function onhand_shutdown()
{
    global $onhand_answered;
    if (!$onhand_answered) {
        onhand_answer(500, 'application/json; charset=utf-8', '{"error":"The bridge failed; the server\'s error log says where."}');
    }
}

function onhand_require_https($settings)
{
    $https = isset($_SERVER['HTTPS']) ? strtolower((string) $_SERVER['HTTPS']) : '';
    if (($https !== '' && $https !== 'off') || !empty($settings['allow_http'])) {
        return;
    }
    $forwarded = isset($_SERVER['HTTP_X_FORWARDED_PROTO']) ? $_SERVER['HTTP_X_FORWARDED_PROTO'] : '';
    if (!empty($settings['trust_forwarded_proto']) && strtolower(trim($forwarded)) === 'https') {
        return;
    }
    throw new OnhandRefusal(403, 'This address answers over https only: put https:// before it. For a shop without https that you'
        . ' only try things with, set allow_http to true in the settings at the top of this file.');
}

/** The bytes of the signing secret, or null where none is set. */
function onhand_secret_bytes($settings)
{
    $secret = trim((string) $settings['secret']);
    if (strpos($secret, 'whsec_') !== 0) {
        return null;
    }
    $bytes = base64_decode(substr($secret, 6), true);
    return $bytes !== false && strlen($bytes) >= 24 ? $bytes : null;
}

/**
 * Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`. Nothing of the body is read before it fits.
 * A copied request works for five minutes, and there only as what it was: a change under a known id is not made again.
 * @return string the request's id, which is its idempotency key
 */
function onhand_verify($settings, $body)
{
    $key = onhand_secret_bytes($settings);
    if ($key === null) {
        throw new OnhandRefusal(403, 'The bridge is not set up yet: open its address in a browser.');
    }
    if (strlen($body) > ONHAND_BODY_BYTES_MAX) {
        throw new OnhandRefusal(413, 'The request is too large.');
    }
    $id = isset($_SERVER['HTTP_WEBHOOK_ID']) ? (string) $_SERVER['HTTP_WEBHOOK_ID'] : '';
    $timestamp = isset($_SERVER['HTTP_WEBHOOK_TIMESTAMP']) ? (string) $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] : '';
    $signatures = isset($_SERVER['HTTP_WEBHOOK_SIGNATURE']) ? (string) $_SERVER['HTTP_WEBHOOK_SIGNATURE'] : '';
    if ($id === '' || strlen($id) > 255 || !preg_match('/^\d{1,11}$/D', $timestamp) || $signatures === '') {
        throw new OnhandRefusal(401, 'The request is not signed.');
    }
    $fits = false;
    $expected = base64_encode(hash_hmac('sha256', $id . '.' . $timestamp . '.' . $body, $key, true));
    foreach (array_slice(explode(' ', $signatures), 0, 10) as $entry) {
        $given = strpos($entry, 'v1,') === 0 ? substr($entry, 3) : '';
        $fits = hash_equals($expected, $given) || $fits;
    }
    if (!$fits) {
        throw new OnhandRefusal(401, 'The signature does not fit: the secret differs on the two sides.');
    }
    if (abs(time() - (int) $timestamp) > ONHAND_TOLERANCE_S) {
        throw new OnhandRefusal(401, 'The request is too old, or the clocks differ by more than five minutes: here it is '
            . gmdate('Y-m-d\TH:i:s\Z') . '.');
    }
    return $id;
}

/** One signed call. @return string|array the answer, as JSON or as what becomes JSON */
function onhand_serve($settings, $id, $body)
{
    $message = json_decode($body, true);
    if (!is_array($message) || !isset($message['type']) || !is_string($message['type'])) {
        throw new OnhandRefusal(400, 'The body is no message: {"type", "timestamp", "data"}.');
    }
    $data = isset($message['data']) && is_array($message['data']) ? $message['data'] : array();
    $shop = onhand_open_shop($settings);
    switch ($message['type']) {
        case 'ping':
            return onhand_describe($shop);
        case 'stock.adjust':
        case 'stock.set':
        case 'stock.visibility':
            return onhand_change_stock($shop, $id, hash('sha256', $body), onhand_lines($message['type'], $data));
        case 'stock.read':
            return onhand_read_stock($shop, $data);
        case 'stock.changed':
            return onhand_changed_stock($shop, isset($data['since']) ? (string) $data['since'] : null);
        case 'stock.problems':
            return onhand_stock_problems($shop, isset($data['cursor']) ? (string) $data['cursor'] : null);
        case 'orders.list':
            return onhand_list_orders($shop, isset($data['since']) ? (string) $data['since'] : null);
        default:
            throw new OnhandRefusal(400, 'This bridge does not know that type of message.');
    }
}

/** A statement that failed. Its text and the server's words stay here: both may hold customers' data. */
class OnhandDatabaseError extends Exception
{
    public function forCaller()
    {
        switch ($this->getCode()) {
            case 1044:
            case 1142:
            case 1227:
                return 'The shop\'s database user may not do that (error ' . $this->getCode() . '): it must be allowed to create tables.';
            case 1146:
            case 1054:
                return 'A table or column that this bridge expects is missing (error ' . $this->getCode() . '): is it beside the right shop?';
            default:
                return 'The shop\'s database refused a statement (error ' . $this->getCode() . ').';
        }
    }
}

/** A connection in its own session: strict, so that a number that does not fit is an error and never cut to one that does. */
class OnhandDatabase
{
    private $link;

    public function __construct($access, $settings)
    {
        mysqli_report(MYSQLI_REPORT_OFF);
        $host = $access['host'];
        $port = null;
        $socket = isset($access['socket']) && $access['socket'] !== '' ? $access['socket'] : null;
        if (preg_match('/^(.*):(\d+)$/D', $host, $parts) && substr_count($host, ':') === 1) {
            $host = $parts[1];
            $port = (int) $parts[2];
        } elseif (preg_match('#^([^:/]*):(/.+)$#D', $host, $parts)) {
            $host = $parts[1] === '' ? 'localhost' : $parts[1];
            $socket = $parts[2];
        }
        if (isset($access['port']) && (int) $access['port'] > 0) {
            $port = (int) $access['port'];
        }
        $this->link = mysqli_init();
        $this->link->options(MYSQLI_OPT_CONNECT_TIMEOUT, 5);
        $connected = $port === null && $socket === null
            ? @$this->link->real_connect($host, $access['user'], $access['password'], $access['name'])
            : @$this->link->real_connect($host, $access['user'], $access['password'], $access['name'], (int) $port, (string) $socket);
        if (!$connected) {
            throw new OnhandRefusal(503, 'The shop\'s database cannot be reached (error ' . (int) mysqli_connect_errno() . ').');
        }
        // Quoting depends on this: real_escape_string must know the character set of the session.
        if (!$this->link->set_charset($settings['db_charset']) && !$this->link->set_charset('utf8')) {
            throw new OnhandRefusal(503, 'The database does not know the character set of the settings.');
        }
        $this->run("SET SESSION sql_mode = 'STRICT_ALL_TABLES'");
        // MySQL cuts a list that is put together after 1,024 letters unless it is told otherwise, without a word.
        $this->run('SET SESSION group_concat_max_len = 1000000');
        if ($settings['time_zone'] !== '') {
            $this->run('SET SESSION time_zone = ?', array($settings['time_zone']));
        }
    }

    /** Every ? is replaced by a quoted value; the statement itself never holds anything that came from outside. */
    public function run($sql, $values = array())
    {
        $parts = explode('?', $sql);
        if (count($parts) !== count($values) + 1) {
            throw new OnhandDatabaseError('placeholders', 0);
        }
        $whole = array_shift($parts);
        foreach (array_values($values) as $index => $value) {
            $whole .= $this->quoted($value) . $parts[$index];
        }
        $result = $this->link->query($whole);
        if ($result === false) {
            throw new OnhandDatabaseError('statement', (int) $this->link->errno);
        }
        return $result;
    }

    public function rows($sql, $values = array())
    {
        $result = $this->run($sql, $values);
        $rows = array();
        while (($row = $result->fetch_assoc()) !== null) {
            $rows[] = $row;
        }
        $result->free();
        return $rows;
    }

    public function one($sql, $values = array())
    {
        $rows = $this->rows($sql, $values);
        return isset($rows[0]) ? $rows[0] : null;
    }

    public function affected()
    {
        return (int) $this->link->affected_rows;
    }

    public function version()
    {
        return (string) $this->link->server_info;
    }

    private function quoted($value)
    {
        if ($value === null) {
            return 'NULL';
        }
        if (is_int($value)) {
            return (string) $value;
        }
        if (is_array($value)) {
            return implode(', ', array_map(array($this, 'quoted'), $value));
        }
        return "'" . $this->link->real_escape_string((string) $value) . "'";
    }
}

/** Deadlocks and lock time-outs undo the whole transaction: it is begun anew, a few times. */
function onhand_transaction($database, $work)
{
    for ($try = 1; ; $try++) {
        $database->run('START TRANSACTION');
        try {
            $result = call_user_func($work);
            $database->run('COMMIT');
            return $result;
        } catch (OnhandDatabaseError $error) {
            try {
                $database->run('ROLLBACK');
            } catch (OnhandDatabaseError $gone) {
                throw $error;
            }
            if (!in_array($error->getCode(), array(1213, 1205), true) || $try >= 5) {
                throw $error;
            }
            usleep(mt_rand(5, 50) * 1000 * $try);
        } catch (OnhandRefusal $refusal) {
            $database->run('ROLLBACK');
            throw $refusal;
        }
    }
}

/** Runs `work` while nobody else does under the same name; the name is of this database, others have their own. */
function onhand_alone($database, $name, $work)
{
    $lock = substr(hash('sha256', $name), 0, 40);
    $row = $database->one("SELECT GET_LOCK(CONCAT('oh', LEFT(MD5(DATABASE()), 8), ?), 10) AS got", array($lock));
    if ((int) $row['got'] !== 1) {
        throw new OnhandRefusal(503, 'Another request is busy with the same; try again.');
    }
    try {
        $result = call_user_func($work);
    } catch (Exception $error) {
        onhand_release($database, $lock);
        throw $error;
    }
    onhand_release($database, $lock);
    return $result;
}

/** A lock whose connection broke is gone already. */
function onhand_release($database, $lock)
{
    try {
        $database->run("DO RELEASE_LOCK(CONCAT('oh', LEFT(MD5(DATABASE()), 8), ?))", array($lock));
    } catch (OnhandDatabaseError $error) {
        return;
    }
}

/** The bridge's own tables. They are made when they are missing, beside the shop's, and removed by `uninstall`. */
function onhand_own_tables($prefix)
{
    $p = $prefix . 'onhand_bridge_';
    return array(
        $p . 'keys' => "CREATE TABLE IF NOT EXISTS {$p}keys (
            id CHAR(64) NOT NULL, body_hash CHAR(64) NOT NULL, answer MEDIUMBLOB NULL, created_at INT UNSIGNED NOT NULL,
            PRIMARY KEY (id), KEY created_at (created_at)) DEFAULT CHARSET=utf8",
        $p . 'changes' => "CREATE TABLE IF NOT EXISTS {$p}changes (
            id CHAR(64) NOT NULL, line INT UNSIGNED NOT NULL, source TINYINT UNSIGNED NOT NULL, item_id INT UNSIGNED NOT NULL,
            delta INT NULL, target INT NULL, from_quantity INT NULL, done TINYINT UNSIGNED NOT NULL DEFAULT 0,
            PRIMARY KEY (id, line)) DEFAULT CHARSET=utf8",
        $p . 'orders' => "CREATE TABLE IF NOT EXISTS {$p}orders (
            order_id INT UNSIGNED NOT NULL, fingerprint CHAR(40) NOT NULL, born INT UNSIGNED NOT NULL, seq BIGINT UNSIGNED NOT NULL,
            PRIMARY KEY (order_id), KEY seq (seq)) DEFAULT CHARSET=utf8",
        $p . 'seen' => "CREATE TABLE IF NOT EXISTS {$p}seen (
            source TINYINT UNSIGNED NOT NULL, item_id INT UNSIGNED NOT NULL, sku VARBINARY(1024) NOT NULL, quantity DOUBLE NOT NULL,
            seq BIGINT UNSIGNED NOT NULL, PRIMARY KEY (source, item_id), KEY seq (seq, source, item_id)) DEFAULT CHARSET=utf8",
        $p . 'facts' => "CREATE TABLE IF NOT EXISTS {$p}facts (
            name VARCHAR(40) NOT NULL, value VARCHAR(255) NOT NULL, PRIMARY KEY (name)) DEFAULT CHARSET=utf8",
    );
}

/** InnoDB where the server has it, whatever its default is: a key has to be written together with the stock. */
function onhand_make_tables($shop)
{
    foreach (onhand_own_tables($shop->prefix) as $statement) {
        try {
            $shop->database->run($statement . ' ENGINE=InnoDB');
        } catch (OnhandDatabaseError $error) {
            if (!in_array($error->getCode(), array(1286, 1289), true)) {
                throw $error;
            }
            $shop->database->run($statement);
        }
    }
}

function onhand_drop_tables($shop)
{
    foreach (array_keys(onhand_own_tables($shop->prefix)) as $table) {
        $shop->database->run('DROP TABLE IF EXISTS ' . $table);
    }
}

/** Whether stock and key can be written in one transaction: every table of stock, and our own, must keep transactions. */
function onhand_engines($shop)
{
    $tables = array($shop->prefix . 'onhand_bridge_keys');
    foreach ($shop->sources as $source) {
        $tables[] = $source['table'];
    }
    $rows = $shop->database->rows(
        'SELECT TABLE_NAME AS name, ENGINE AS engine, TABLE_COLLATION AS collation_name FROM information_schema.TABLES
          WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (?)',
        array($tables)
    );
    $engines = array();
    foreach ($rows as $row) {
        $engines[$row['name']] = array('engine' => (string) $row['engine'], 'collation' => (string) $row['collation_name']);
    }
    return $engines;
}

function onhand_has_transactions($shop)
{
    $engines = onhand_engines($shop);
    if (!isset($engines[$shop->prefix . 'onhand_bridge_keys'])) {
        onhand_make_tables($shop);
        $engines = onhand_engines($shop);
    }
    foreach ($engines as $table) {
        if (strcasecmp($table['engine'], 'InnoDB') !== 0) {
            return false;
        }
    }
    return true;
}

/** Lines of a change, checked: whole numbers that fit, each item named once. */
function onhand_lines($type, $data)
{
    $given = isset($data['lines']) && is_array($data['lines']) ? array_values($data['lines']) : array();
    if (count($given) === 0 || count($given) > ONHAND_LINES_MAX) {
        throw new OnhandRefusal(400, 'lines must hold 1 to ' . ONHAND_LINES_MAX . ' lines.');
    }
    $lines = array();
    $named = array();
    foreach ($given as $line) {
        if (!is_array($line) || !isset($line['key']) || !is_string($line['key']) || $line['key'] === '' || strlen($line['key']) > 1020) {
            throw new OnhandRefusal(400, 'Each line needs the key of an item.');
        }
        if (isset($named[$line['key']])) {
            throw new OnhandRefusal(400, 'An item is named twice.');
        }
        $named[$line['key']] = true;
        $checked = array('key' => $line['key'], 'delta' => null, 'target' => null, 'from' => null, 'visibility' => null);
        if ($type === 'stock.adjust') {
            $checked['delta'] = onhand_whole($line, 'delta', true);
            $checked['from'] = onhand_whole($line, 'from', false);
        } elseif ($type === 'stock.set') {
            $checked['target'] = onhand_whole($line, 'quantity', true);
            $checked['from'] = onhand_whole($line, 'from', false);
        }
        if (isset($line['visibility']) || $type === 'stock.visibility') {
            $visibility = isset($line['visibility']) ? $line['visibility'] : null;
            if ($visibility !== 'shown' && $visibility !== 'hidden') {
                throw new OnhandRefusal(400, 'visibility must be "shown" or "hidden".');
            }
            $checked['visibility'] = $visibility;
        }
        $lines[] = $checked;
    }
    return $lines;
}

function onhand_whole($line, $field, $required)
{
    if (!isset($line[$field]) && !$required) {
        return null;
    }
    if (!isset($line[$field]) || !is_int($line[$field]) || abs($line[$field]) > 2147483647) {
        throw new OnhandRefusal(400, $field . ' must be a whole number.');
    }
    return $line[$field];
}

/**
 * Changes stock once in effect, however often the same request comes. Same id and same body: the stored answer. Same id,
 * other body: refused.
 * @return string JSON: one answer per line, in the order of the request
 */
function onhand_change_stock($shop, $id, $body_hash, $lines)
{
    $key = hash('sha256', $id);
    $with_transactions = onhand_has_transactions($shop);
    $known = onhand_known_answer($shop, $key, $body_hash);
    if ($known !== null) {
        return $known;
    }
    $answer = $with_transactions
        ? onhand_transaction($shop->database, function () use ($shop, $key, $body_hash, $lines) {
            return onhand_change_together($shop, $key, $body_hash, $lines);
        })
        : onhand_alone($shop->database, 'change ' . $key, function () use ($shop, $key, $body_hash, $lines) {
            return onhand_change_in_steps($shop, $key, $body_hash, $lines);
        });
    onhand_forget_old_keys($shop);
    return $answer;
}

function onhand_known_answer($shop, $key, $body_hash)
{
    $stored = $shop->database->one("SELECT body_hash, answer FROM {$shop->prefix}onhand_bridge_keys WHERE id = ?", array($key));
    if ($stored === null) {
        return null;
    }
    if (!hash_equals($stored['body_hash'], $body_hash)) {
        throw new OnhandRefusal(409, 'This key was used for another request.');
    }
    return $stored['answer'];
}

/** The key, the stock and the answer in one transaction. Whoever brings the same key at the same moment waits at the insert. */
function onhand_change_together($shop, $key, $body_hash, $lines)
{
    $database = $shop->database;
    try {
        $database->run(
            "INSERT INTO {$shop->prefix}onhand_bridge_keys (id, body_hash, answer, created_at) VALUES (?, ?, NULL, UNIX_TIMESTAMP())",
            array($key, $body_hash)
        );
    } catch (OnhandDatabaseError $error) {
        if ($error->getCode() !== 1062) {
            throw $error;
        }
        return onhand_known_answer($shop, $key, $body_hash);
    }
    $items = onhand_items_of($shop, array_map('onhand_key_of', $lines));
    // One order of locking for everybody, so that two requests wait for each other and never in a circle.
    $order = array_keys($lines);
    usort($order, function ($left, $right) use ($lines, $items) {
        return strcmp(onhand_lock_order($items, $lines[$left]['key']), onhand_lock_order($items, $lines[$right]['key']));
    });
    $answers = array();
    foreach ($order as $index) {
        $answers[$index] = onhand_change_line($shop, $lines[$index], $items);
    }
    ksort($answers);
    $answer = onhand_encode(array('lines' => array_values($answers)));
    $database->run("UPDATE {$shop->prefix}onhand_bridge_keys SET answer = ? WHERE id = ?", array($answer, $key));
    return $answer;
}

function onhand_key_of($line)
{
    return $line['key'];
}

function onhand_lock_order($items, $key)
{
    $item = isset($items[$key][0]) ? $items[$key][0] : array('source' => 9, 'id' => 0);
    return sprintf('%d %012d', $item['source'], $item['id']);
}

/** One line inside the transaction: the row is locked, looked at, and changed by addition. */
function onhand_change_line($shop, $line, $items)
{
    $refused = onhand_refuse_line($line['key'], isset($items[$line['key']]) ? $items[$line['key']] : array());
    if ($refused !== null) {
        return $refused;
    }
    $item = $items[$line['key']][0];
    $source = $shop->sources[$item['source']];
    $row = $shop->database->one(
        "SELECT {$source['quantity']} AS quantity FROM {$source['table']} WHERE {$source['id']} = ? FOR UPDATE",
        array($item['id'])
    );
    if ($row === null) {
        return array('key' => $line['key'], 'status' => 'not-found');
    }
    $quantity = onhand_pieces($row['quantity']);
    $refused = onhand_refuse_quantity($line, $quantity, $row['quantity'], $item);
    if ($refused !== null) {
        return $refused;
    }
    $after = $quantity;
    if ($line['delta'] !== null) {
        $after = $quantity + $line['delta'];
        $shop->database->run(
            "UPDATE {$source['table']} SET {$source['quantity']} = {$source['quantity']} + ? WHERE {$source['id']} = ?",
            array($line['delta'], $item['id'])
        );
    } elseif ($line['target'] !== null) {
        $after = $line['target'];
        $shop->database->run(
            "UPDATE {$source['table']} SET {$source['quantity']} = ? WHERE {$source['id']} = ?",
            array($line['target'], $item['id'])
        );
    }
    $refused = onhand_change_visibility($shop, $line, $item);
    return $refused !== null ? $refused : array('key' => $line['key'], 'status' => 'applied', 'quantity' => $after);
}

/**
 * Without transactions. Each line is written down first; then one statement changes the stock and marks the line as done,
 * together: the server carries a statement to its end even when nobody waits for it any more. A repeated request takes up
 * what is not marked. What is left is a server that dies inside that one statement.
 */
function onhand_change_in_steps($shop, $key, $body_hash, $lines)
{
    $known = onhand_known_answer($shop, $key, $body_hash);
    if ($known !== null) {
        return $known;
    }
    $database = $shop->database;
    $items = onhand_items_of($shop, array_map('onhand_key_of', $lines));
    $database->run(
        "INSERT IGNORE INTO {$shop->prefix}onhand_bridge_keys (id, body_hash, answer, created_at) VALUES (?, ?, NULL, UNIX_TIMESTAMP())",
        array($key, $body_hash)
    );
    // Our own tables may keep transactions where the shop's do not: then a hundred lines are written down as one.
    $database->run('START TRANSACTION');
    foreach ($lines as $index => $line) {
        $known_items = isset($items[$line['key']]) ? $items[$line['key']] : array();
        if (count($known_items) === 1 && $known_items[0]['tracked']) {
            $database->run(
                "INSERT IGNORE INTO {$shop->prefix}onhand_bridge_changes (id, line, source, item_id, delta, target, from_quantity)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
                array($key, $index, $known_items[0]['source'], $known_items[0]['id'], $line['delta'], $line['target'], $line['from'])
            );
        }
    }
    $database->run('COMMIT');
    $answers = array();
    foreach ($lines as $index => $line) {
        $answers[] = onhand_step($shop, $key, $index, $line, isset($items[$line['key']]) ? $items[$line['key']] : array());
    }
    $answer = onhand_encode(array('lines' => $answers));
    $database->run("UPDATE {$shop->prefix}onhand_bridge_keys SET answer = ? WHERE id = ?", array($answer, $key));
    return $answer;
}

function onhand_step($shop, $key, $index, $line, $known_items)
{
    $refused = onhand_refuse_line($line['key'], $known_items);
    if ($refused !== null) {
        return $refused;
    }
    $database = $shop->database;
    $item = $known_items[0];
    $source = $shop->sources[$item['source']];
    $noted = $database->one("SELECT done FROM {$shop->prefix}onhand_bridge_changes WHERE id = ? AND line = ?", array($key, $index));
    if ($noted !== null && (int) $noted['done'] === 0) {
        $row = $database->one("SELECT {$source['quantity']} AS quantity FROM {$source['table']} WHERE {$source['id']} = ?", array($item['id']));
        if ($row === null) {
            return array('key' => $line['key'], 'status' => 'not-found');
        }
        $refused = onhand_refuse_quantity($line, onhand_pieces($row['quantity']), $row['quantity'], $item);
        if ($refused !== null) {
            return $refused;
        }
        $database->run(
            "UPDATE {$source['table']} AS p, {$shop->prefix}onhand_bridge_changes AS c
                SET p.{$source['quantity']} = COALESCE(c.target, p.{$source['quantity']} + COALESCE(c.delta, 0)), c.done = 1
              WHERE c.id = ? AND c.line = ? AND c.done = 0 AND p.{$source['id']} = c.item_id
                AND (c.from_quantity IS NULL OR c.from_quantity = p.{$source['quantity']})",
            array($key, $index)
        );
        $done = $database->affected() > 0;
    } else {
        $done = true;
    }
    $row = $database->one("SELECT {$source['quantity']} AS quantity FROM {$source['table']} WHERE {$source['id']} = ?", array($item['id']));
    $quantity = $row === null ? null : onhand_pieces($row['quantity']);
    if (!$done) {
        return array('key' => $line['key'], 'status' => 'stale', 'quantity' => $quantity);
    }
    $refused = onhand_change_visibility($shop, $line, $item);
    return $refused !== null ? $refused : array('key' => $line['key'], 'status' => 'applied', 'quantity' => $quantity);
}

/** What keeps a line from being carried out before anything was changed, or null. */
function onhand_refuse_line($key, $items)
{
    if (count($items) === 0) {
        return array('key' => $key, 'status' => 'not-found');
    }
    if (count($items) > 1) {
        $ids = array();
        foreach (array_slice($items, 0, 5) as $item) {
            $ids[] = $item['name'];
        }
        return array('key' => $key, 'status' => 'rejected', 'message' => count($items)
            . ' items of the shop have this SKU (' . implode(', ', $ids) . '); give each its own');
    }
    if (!$items[0]['tracked']) {
        return array('key' => $key, 'status' => 'not-tracked');
    }
    return null;
}

function onhand_refuse_quantity($line, $quantity, $shown, $item)
{
    if ($quantity === null) {
        return array('key' => $line['key'], 'status' => 'rejected',
            'message' => 'the shop shows ' . (float) $shown . ' pieces; only whole ones can be counted');
    }
    if ($line['from'] !== null && $line['from'] !== $quantity) {
        return array('key' => $line['key'], 'status' => 'stale', 'quantity' => $quantity);
    }
    $after = $line['target'] !== null ? $line['target'] : $quantity + (int) $line['delta'];
    if (abs($after) > $item['quantity_max'] || ($after < 0 && $item['unsigned'])) {
        return array('key' => $line['key'], 'status' => 'rejected', 'message' => 'the shop cannot hold ' . $after . ' pieces');
    }
    return null;
}

/** Shows or hides an item; done again it changes nothing. @return array|null a refusal */
function onhand_change_visibility($shop, $line, $item)
{
    if ($line['visibility'] === null) {
        return null;
    }
    $source = $shop->sources[$item['source']];
    if (!isset($source['shown'])) {
        return array('key' => $line['key'], 'status' => 'rejected', 'message' => 'a variant cannot be hidden by itself in this shop');
    }
    $shown = $line['visibility'] === 'shown';
    // "shown" undoes "hidden" only: a shop has other states, like one that is reached by its address alone.
    $shop->database->run(
        "UPDATE {$source['table']} SET {$source['shown']} = ? WHERE {$source['id']} = ?" . ($shown ? " AND {$source['shown']} = ?" : ''),
        $shown ? array($source['shown_value'], $item['id'], $source['hidden_value']) : array($source['hidden_value'], $item['id'])
    );
    return null;
}

/** @return int|null null where it is no whole number */
function onhand_pieces($value)
{
    $number = (float) $value;
    return abs($number - round($number)) < 0.0005 && abs($number) < 9007199254740991 ? (int) round($number) : null;
}

/**
 * The items of these keys. Databases compare text their own way (capitals, accents, trailing blanks); a key means exactly
 * its own letters.
 * @return array key => list of items; more than one where the shop has the SKU several times
 */
function onhand_items_of($shop, $keys)
{
    $items = array();
    if (count($keys) === 0) {
        return $items;
    }
    $wanted = array_fill_keys($keys, true);
    foreach ($shop->sources as $number => $source) {
        // A column of Latin letters cannot be compared with text it cannot hold: that text is made to fit (and then fits nothing).
        $fitted = "CONVERT(? USING {$source['letters']}) COLLATE {$source['collation']}";
        $places = array();
        foreach ($keys as $key) {
            $places[] = preg_match('/[\x80-\xff]/', $key) && $source['letters'] !== '' ? $fitted : '?';
        }
        foreach ($shop->database->rows(
            $source['select'] . " AND {$source['sku']} IN (" . implode(', ', $places) . ')',
            array_map('strval', array_values($keys))
        ) as $row) {
            if (isset($wanted[$row['sku']])) {
                $items[$row['sku']][] = onhand_item($number, $source, $row);
            }
        }
    }
    return $items;
}

function onhand_item($number, $source, $row)
{
    return array(
        'source' => $number,
        'id' => (int) $row['id'],
        'sku' => $row['sku'],
        'quantity' => $row['quantity'],
        'tracked' => !isset($row['tracked']) || (bool) $row['tracked'],
        'name' => $source['name'] . ' ' . $row['id'],
        'quantity_max' => $source['max'],
        'unsigned' => $source['unsigned'],
    );
}

/** What can be a key: some letters, none of them a control character, no blanks around. */
function onhand_is_key($sku)
{
    return is_string($sku) && $sku !== '' && $sku === trim($sku) && !preg_match('/[\x00-\x1f\x7f]/', $sku)
        && preg_match('//u', $sku) === 1 && strlen(onhand_one_byte_each($sku)) <= 255;
}

/** As many letters as the text has, whichever extensions this PHP has. */
function onhand_one_byte_each($text)
{
    return preg_replace('/[\x80-\xbf]/', '', $text);
}

/** Keys are a page; the whole shop is read by its items' numbers, so that nothing is skipped while it changes. */
function onhand_read_stock($shop, $data)
{
    if (isset($data['keys']) && is_array($data['keys'])) {
        $keys = array_values(array_filter($data['keys'], 'is_string'));
        if (count($keys) > 1000) {
            throw new OnhandRefusal(400, 'keys may name up to 1000 items.');
        }
        $rows = array();
        foreach (onhand_items_of($shop, $keys) as $key => $items) {
            $rows[] = onhand_row((string) $key, $items);
        }
        return array('rows' => $rows, 'nextCursor' => null);
    }
    $cursor = isset($data['cursor']) ? (string) $data['cursor'] : '0:0';
    if (!preg_match('/^(\d):(\d{1,10})$/D', $cursor, $place) || !isset($shop->sources[(int) $place[1]])) {
        throw new OnhandRefusal(400, 'The cursor is none of this bridge.');
    }
    $number = (int) $place[1];
    $source = $shop->sources[$number];
    $found = $shop->database->rows(
        $source['select'] . " AND {$source['id']} > ? ORDER BY {$source['id']} LIMIT ?",
        array((int) $place[2], ONHAND_LINES_MAX)
    );
    $keys = array();
    foreach ($found as $row) {
        if (onhand_is_key($row['sku'])) {
            $keys[] = $row['sku'];
        }
    }
    $rows = array();
    foreach (onhand_items_of($shop, array_values(array_unique($keys))) as $key => $items) {
        $rows = array_merge($rows, onhand_rows_of_each((string) $key, $items));
    }
    $last = count($found) > 0 ? (int) $found[count($found) - 1]['id'] : 0;
    $next = count($found) === ONHAND_LINES_MAX ? $number . ':' . $last : ($number + 1) . ':0';
    return array('rows' => $rows, 'nextCursor' => isset($shop->sources[(int) $next]) ? $next : null);
}

/**
 * One row; null where nobody can say: several items have the SKU, the shop does not track it, or it holds half a piece.
 */
function onhand_row($key, $items)
{
    $one = count($items) === 1 && $items[0]['tracked'];
    return array('key' => $key, 'quantity' => $one ? onhand_pieces($items[0]['quantity']) : null);
}

/** A row for each item that has the SKU: whoever lists everything sees which SKUs are doubled, and what each shows. */
function onhand_rows_of_each($key, $items)
{
    $rows = array();
    foreach ($items as $item) {
        $rows[] = onhand_row($key, array($item));
    }
    return $rows;
}

/**
 * Items whose quantity or SKU is not what it was at the last call of this kind. The shop keeps no such thing (its checkout
 * changes stock and no date), so what was seen is kept beside it and compared in one statement.
 */
function onhand_changed_stock($shop, $since)
{
    if ($since !== null && !preg_match('/^\d{1,15}\.\d\.\d{1,10}$/D', $since)) {
        throw new OnhandRefusal(400, 'since is none of this bridge.');
    }
    $place = $since === null ? array('0', '0', '0') : explode('.', $since);
    onhand_has_transactions($shop);
    return onhand_alone($shop->database, 'changed stock', function () use ($shop, $place) {
        $seen = $shop->prefix . 'onhand_bridge_seen';
        $seq = onhand_next_seq($shop, $seen);
        foreach ($shop->sources as $number => $source) {
            $shop->database->run(
                "INSERT INTO $seen (source, item_id, sku, quantity, seq)
                 SELECT ?, i.id, CAST(i.sku AS BINARY), i.quantity, ? FROM ({$source['select']}) AS i
                   LEFT JOIN $seen AS s ON s.source = ? AND s.item_id = i.id
                  WHERE i.sku IS NOT NULL AND (s.item_id IS NULL OR s.quantity <> i.quantity OR s.sku <> CAST(i.sku AS BINARY))
                 ON DUPLICATE KEY UPDATE sku = VALUES(sku), quantity = VALUES(quantity), seq = VALUES(seq)",
                array($number, $seq, $number)
            );
        }
        $found = $shop->database->rows(
            "SELECT source, item_id, sku, seq FROM $seen WHERE (seq, source, item_id) > (?, ?, ?)
              ORDER BY seq, source, item_id LIMIT ?",
            array((int) $place[0], (int) $place[1], (int) $place[2], ONHAND_LINES_MAX)
        );
        $keys = array();
        foreach ($found as $row) {
            $place = array($row['seq'], $row['source'], $row['item_id']);
            if (onhand_is_key($row['sku'])) {
                $keys[$row['sku']] = (string) $row['sku'];
            }
        }
        $rows = array();
        foreach (onhand_items_of($shop, array_values($keys)) as $key => $items) {
            $rows[] = onhand_row((string) $key, $items);
        }
        return array('rows' => $rows, 'mark' => implode('.', $place), 'more' => count($found) === ONHAND_LINES_MAX);
    });
}

/** Higher than any before, even where the table was made anew: marks of an earlier life must not hide anything. */
function onhand_next_seq($shop, $table)
{
    $now = sprintf('%.0f', microtime(true) * 1000);
    $row = $shop->database->one("SELECT GREATEST(COALESCE(MAX(seq), 0) + 1, CAST(? AS UNSIGNED)) AS seq FROM $table", array($now));
    return (int) $row['seq'];
}

/** Items that cannot be told apart or told at all: nothing is hidden behind the first one that was found. */
function onhand_stock_problems($shop, $cursor)
{
    $offset = $cursor !== null && preg_match('/^\d{1,9}$/D', $cursor) ? (int) $cursor : 0;
    $rows = $shop->database->rows(
        "SELECT MIN(x.sku) AS sku, COUNT(*) AS items, GROUP_CONCAT(x.name ORDER BY x.id SEPARATOR ', ') AS names, MIN(x.quantity) AS quantity
           FROM (" . onhand_all_items($shop) . ") AS x
          GROUP BY CASE WHEN x.sku IS NULL OR x.sku = '' THEN CONCAT('-', x.name) ELSE CONCAT('+', CAST(x.sku AS BINARY)) END
         HAVING COUNT(*) > 1 OR MIN(x.sku) IS NULL OR MIN(x.sku) = '' OR CAST(MIN(x.sku) AS BINARY) <> CAST(TRIM(MIN(x.sku)) AS BINARY)
             OR MIN(x.sku) REGEXP '[[:cntrl:]]' OR MIN(x.quantity) <> ROUND(MIN(x.quantity))
          ORDER BY MIN(x.sku), MIN(x.id) LIMIT ?, ?",
        array($offset, ONHAND_LINES_MAX)
    );
    $problems = array();
    foreach ($rows as $row) {
        $sku = (string) $row['sku'];
        $problem = (int) $row['items'] > 1 && $sku !== '' ? 'doubled' : ($sku === '' ? 'empty' : (onhand_is_key($sku) ? 'fraction' : 'odd'));
        $problems[] = array('problem' => $problem, 'key' => onhand_clean($sku), 'items' => substr($row['names'], 0, 200));
    }
    return array(
        'problems' => $problems,
        'nextCursor' => count($rows) === ONHAND_LINES_MAX ? (string) ($offset + ONHAND_LINES_MAX) : null,
    );
}

/** Every item of every source, as id, name, sku and quantity. */
function onhand_all_items($shop)
{
    $parts = array();
    foreach ($shop->sources as $number => $source) {
        $parts[] = "SELECT $number AS source, i.id AS id, CONCAT('{$source['name']} ', i.id) AS name, i.sku AS sku, i.quantity AS quantity"
            . " FROM ({$source['select']}) AS i";
    }
    return implode(' UNION ALL ', $parts);
}

function onhand_clean($text)
{
    $text = preg_replace('/[\x00-\x1f\x7f]/', ' ', (string) $text);
    return preg_match('//u', $text) === 1 ? $text : preg_replace('/[\x80-\xff]/', '?', $text);
}

/** Keys are kept for eight days, a day longer than anybody is told; a few old ones go with every change. */
function onhand_forget_old_keys($shop)
{
    $old = $shop->database->rows(
        "SELECT id FROM {$shop->prefix}onhand_bridge_keys WHERE created_at < UNIX_TIMESTAMP() - 691200 LIMIT 50"
    );
    if (count($old) > 0) {
        $ids = array();
        foreach ($old as $row) {
            $ids[] = $row['id'];
        }
        $shop->database->run("DELETE FROM {$shop->prefix}onhand_bridge_changes WHERE id IN (?)", array($ids));
        $shop->database->run("DELETE FROM {$shop->prefix}onhand_bridge_keys WHERE id IN (?)", array($ids));
    }
}

/** Whom one talks to, and what is to be known before relying on it. */
function onhand_describe($shop)
{
    onhand_make_tables($shop);
    $counts = $shop->database->one('SELECT COUNT(*) AS items FROM (' . onhand_all_items($shop) . ') AS x');
    $tables = array();
    foreach (onhand_engines($shop) as $name => $table) {
        $tables[] = array('name' => $name, 'engine' => $table['engine'], 'collation' => $table['collation']);
    }
    $clock = $shop->database->one('SELECT UNIX_TIMESTAMP() AS seconds');
    return array(
        'version' => ONHAND_BRIDGE_VERSION,
        'family' => $shop->family,
        'shopVersion' => onhand_clean($shop->version),
        'database' => onhand_clean($shop->database->version()),
        'php' => PHP_VERSION,
        'tables' => $tables,
        'transactions' => onhand_has_transactions($shop),
        'items' => (int) $counts['items'],
        'clockSeconds' => (int) $clock['seconds'],
        'notes' => array_merge($shop->notes(), onhand_order_notes($shop)),
    );
}

define('ONHAND_ORDERS_MAX', 200);
/* An order younger than this may still be in the middle of the shop's checkout, which writes without transactions. */
define('ONHAND_SETTLE_S', 3);
/* Less than any two time zones differ, more than the clocks of two servers may. */
define('ONHAND_CLOCKS_DIFFER_S', 300);
/* All watched orders are looked at this often, the newest ones at every call. */
define('ONHAND_LOOK_S', 20);

/**
 * Orders that are new or look different since `since`, oldest change first. The shops keep no mark of changes, so the
 * bridge keeps a fingerprint of every watched order; whatever changes it (a status, a line, a quantity) gives the order
 * the next number, and that number is its revision and the mark.
 *
 * `complete` is false while a checkout under way may have taken pieces that no order shows yet. `unsettled` names the
 * items of orders so young that the shop may be taking their pieces at this moment: a quantity that is read now may or may
 * not lack them.
 */
function onhand_list_orders($shop, $since)
{
    if ($since !== null && !preg_match('/^\d{1,15}$/D', $since)) {
        throw new OnhandRefusal(400, 'since is none of this bridge.');
    }
    onhand_has_transactions($shop);
    $young = onhand_alone($shop->database, 'orders', function () use ($shop) {
        return onhand_look_at_orders($shop);
    });
    $found = $shop->database->rows(
        "SELECT order_id, seq FROM {$shop->prefix}onhand_bridge_orders WHERE seq > ? ORDER BY seq, order_id LIMIT ?",
        array((int) $since, ONHAND_ORDERS_MAX)
    );
    $seqs = array();
    $mark = $since === null ? '0' : $since;
    foreach ($found as $row) {
        $seqs[(int) $row['order_id']] = (int) $row['seq'];
        $mark = (string) $row['seq'];
    }
    $orders = array();
    $told = $shop->orders(array_keys($seqs));
    foreach ($seqs as $order_id => $seq) {
        if (isset($told[$order_id])) {
            $orders[] = array('revision' => $seq) + $told[$order_id];
        }
    }
    return array('orders' => $orders, 'mark' => $mark, 'complete' => $young['complete'], 'unsettled' => $young['keys']);
}

/** Compares the watched orders with their fingerprints and gives numbers to those that differ. */
function onhand_look_at_orders($shop)
{
    $table = $shop->prefix . 'onhand_bridge_orders';
    $facts = $shop->prefix . 'onhand_bridge_facts';
    $newest = $shop->database->one("SELECT MAX(order_id) AS id, UNIX_TIMESTAMP() AS now FROM $table");
    $now = (int) $newest['now'];
    $looked = array('whole' => 0, 'any' => 0);
    foreach ($shop->database->rows("SELECT name, value FROM $facts WHERE name IN ('orders looked at', 'new orders looked at')") as $row) {
        $looked[$row['name'] === 'orders looked at' ? 'whole' : 'any'] = (int) $row['value'];
    }
    $whole = $looked['whole'] <= $now - ONHAND_LOOK_S || $newest['id'] === null;
    $from = $whole ? $shop->first_watched_order() : max(0, (int) $newest['id'] - 50);
    $known = array();
    foreach ($shop->database->rows("SELECT order_id, fingerprint, born FROM $table WHERE order_id >= ?", array($from)) as $row) {
        $known[(int) $row['order_id']] = $row;
    }
    // All that is new has come up since then; at the very first look nobody knows.
    $new_since = $newest['id'] === null ? 0 : $looked['any'];
    $young = array('complete' => true, 'keys' => array());
    $different = array();
    foreach ($shop->order_heads($from) as $head) {
        $id = (int) $head['id'];
        $born = isset($known[$id]) ? (int) $known[$id]['born'] : onhand_born($head, $now, $new_since);
        if (onhand_age($head['age'], $born, $now) < ONHAND_SETTLE_S) {
            $young['complete'] = $young['complete'] && $head['whole'];
            $young['keys'] += array_fill_keys($head['keys'], true);
        }
        if ($head['told'] && (!isset($known[$id]) || $known[$id]['fingerprint'] !== $head['fingerprint'])) {
            $different[$id] = array($head['fingerprint'], $born);
        }
    }
    ksort($different);
    $seq = count($different) > 0 ? onhand_next_seq($shop, $table) : 0;
    foreach ($different as $id => $look) {
        $shop->database->run(
            "INSERT INTO $table (order_id, fingerprint, born, seq) VALUES (?, ?, ?, ?)
             ON DUPLICATE KEY UPDATE fingerprint = VALUES(fingerprint), seq = VALUES(seq)",
            array($id, $look[0], $look[1], $seq++)
        );
    }
    foreach ($whole ? array('orders looked at', 'new orders looked at') : array('new orders looked at') as $name) {
        $shop->database->run("INSERT INTO $facts (name, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE value = VALUES(value)", array($name, $now));
    }
    if ($whole) {
        $shop->database->run("DELETE FROM $table WHERE order_id < ?", array($from));
    }
    $young['keys'] = array_map('strval', array_keys($young['keys']));
    return $young;
}

/**
 * When an order that is new came up, where its own time cannot be: a shop may write its times in another time zone than its
 * database has, and a young order must not pass for one of hours ago. 0: its own time will do.
 */
function onhand_born($head, $now, $new_since)
{
    $age = $head['age'];
    $can_be = $age !== null && $age >= -ONHAND_SETTLE_S && $age <= $now - $new_since + ONHAND_CLOCKS_DIFFER_S;
    return $can_be || !$head['zoned'] || $new_since === 0 ? 0 : $now;
}

/** Seconds; an order without a time, or of the future, must not be young for ever. */
function onhand_age($age, $born, $now)
{
    if ($born > 0) {
        return $now - $born;
    }
    return $age === null || $age < -ONHAND_SETTLE_S ? ONHAND_SETTLE_S : $age;
}

/** What was seen of orders, for the person who connects the shop. */
function onhand_order_notes($shop)
{
    $row = $shop->database->one(
        "SELECT COALESCE(SUM(born > 0), 0) AS odd FROM (SELECT born FROM {$shop->prefix}onhand_bridge_orders ORDER BY order_id DESC LIMIT 5) AS o"
    );
    // One may have been dated by hand.
    return (int) $row['odd'] < 2 ? array() : array('The shop writes the times of its orders in another time zone than its database has: fill in'
        . ' time_zone in the settings of the bridge, or orders are taken for hours older or younger than they are.');
}

/** The line's own SKU, or a name that tells the product where the shop has none: an order must not lose a line. */
function onhand_line_key($sku, $product_id)
{
    $sku = trim(onhand_clean($sku));
    return $sku === '' ? 'product ' . (int) $product_id . ' (no SKU)' : $sku;
}

/** Pieces of a line; a fraction stays one, so that the reader refuses the order instead of rounding it. */
function onhand_line_pieces($value)
{
    $pieces = onhand_pieces($value);
    return $pieces === null ? (float) $value : $pieces;
}

/** Opens the shop's database and finds out what its tables of stock can hold. */
function onhand_open_shop($settings)
{
    $shop = onhand_find_shop($settings);
    foreach ($shop->sources as $number => $source) {
        $column = $shop->database->one(
            'SELECT DATA_TYPE AS type, COLUMN_TYPE AS whole_type FROM information_schema.COLUMNS
              WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND COLUMN_NAME = ?',
            array($source['table'], trim($source['quantity'], '`'))
        );
        if ($column === null) {
            throw new OnhandRefusal(503, 'The table ' . $source['table'] . ' with its quantities is missing: is this the right shop?');
        }
        $letters = $shop->database->one(
            'SELECT CHARACTER_SET_NAME AS letters, COLLATION_NAME AS collation_name FROM information_schema.COLUMNS
              WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND COLUMN_NAME = ?',
            array($source['table'], $source['sku'])
        );
        $shop->sources[$number]['letters'] = preg_replace('/\W/', '', (string) $letters['letters']);
        $shop->sources[$number]['collation'] = preg_replace('/\W/', '', (string) $letters['collation_name']);
        $limits = array('tinyint' => 127, 'smallint' => 32767, 'mediumint' => 8388607, 'float' => 16777216);
        $type = strtolower($column['type']);
        $shop->sources[$number]['max'] = isset($limits[$type]) ? $limits[$type] : 2147483647;
        $shop->sources[$number]['unsigned'] = stripos($column['whole_type'], 'unsigned') !== false;
    }
    return $shop;
}

/** What the settings say goes before what the shop's own file says. */
function onhand_access($settings, $found)
{
    foreach (array('host' => 'db_host', 'user' => 'db_user', 'password' => 'db_password', 'name' => 'db_name') as $ours => $setting) {
        if ($settings[$setting] !== '') {
            $found[$ours] = $settings[$setting];
        }
    }
    if (!isset($found['host'], $found['user'], $found['password'], $found['name']) || $found['name'] === '') {
        throw new OnhandRefusal(503, 'The shop\'s settings for its database were not found: upload this file beside the shop\'s index.php,'
            . ' or fill in db_host, db_user, db_password and db_name.');
    }
    return $found;
}

/** Table prefixes become part of statements; nothing but letters, digits and _ is let in. */
function onhand_prefix($settings, $found)
{
    $prefix = $settings['table_prefix'] !== '' ? $settings['table_prefix'] : $found;
    if (!preg_match('/^\w{0,40}$/D', $prefix)) {
        throw new OnhandRefusal(503, 'The table prefix may hold letters, digits and _ only.');
    }
    return $prefix;
}

function onhand_moment($seconds)
{
    return $seconds === null || (int) $seconds <= 0 ? null : gmdate('Y-m-d\TH:i:s\Z', (int) $seconds);
}

/** What a status means, by its number in the settings or else by its name. */
function onhand_order_state($settings, $id, $name)
{
    if (in_array((string) $id, array_map('strval', $settings['cancelled_statuses']), true)) {
        return 'cancelled';
    }
    if (in_array((string) $id, array_map('strval', $settings['shipped_statuses']), true)) {
        return 'shipped';
    }
    if (count($settings['cancelled_statuses']) === 0 && preg_match('/cancel|void|storn|annul|anul/i', $name)) {
        return 'cancelled';
    }
    if (count($settings['shipped_statuses']) === 0 && preg_match('/deliver|shipp(?!ing )|dispatch|complete|versand|livr/i', $name)) {
        return 'shipped';
    }
    return 'open';
}

/** Whether the lines that are there already add up to what the order says it holds, before or after tax. */
function onhand_adds_up($lines, $subtotal, $net, $gross)
{
    if ((int) $lines === 0 || $subtotal === null) {
        return false;
    }
    $rounding = 0.011 * (int) $lines + 0.001;
    return abs((float) $subtotal - (float) $net) <= $rounding || abs((float) $subtotal - (float) $gross) <= $rounding;
}

/** X-Cart's settings are read and not run: they would start the whole shop. */
function onhand_find_shop($settings)
{
    $folder = dirname(__FILE__);
    $four = is_file($folder . '/config.php') ? onhand_read_x_cart_4($folder) : array();
    if (isset($four['name']) || (!is_file($folder . '/etc/config.php') && $settings['db_name'] !== '')) {
        $database = new OnhandDatabase(onhand_access($settings, $four), $settings);
        return new OnhandXCart4Shop($database, onhand_prefix($settings, 'xcart_'), $settings);
    }
    $five = onhand_read_x_cart_5($folder);
    $database = new OnhandDatabase(onhand_access($settings, $five), $settings);
    return new OnhandXCart5Shop($database, onhand_prefix($settings, isset($five['prefix']) ? $five['prefix'] : 'xc_'), $settings);
}

/** `$sql_host = 'localhost';` and its like; in a later file they count more. */
function onhand_read_x_cart_4($folder)
{
    $found = array();
    foreach (array('config.php', 'config.local.php') as $file) {
        $text = is_file("$folder/$file") ? (string) file_get_contents("$folder/$file") : '';
        preg_match_all(
            '/^\s*\$sql_(host|user|db|password)\s*=\s*(?:\'((?:[^\'\\\\]|\\\\.)*)\'|"((?:[^"\\\\]|\\\\.)*)")\s*;/m',
            $text,
            $lines,
            PREG_SET_ORDER
        );
        foreach ($lines as $line) {
            $name = $line[1] === 'db' ? 'name' : $line[1];
            $found[$name] = isset($line[3]) ? stripcslashes($line[3]) : strtr($line[2], array('\\\\' => '\\', "\\'" => "'"));
        }
    }
    return $found;
}

/** An INI file under a line of PHP that keeps browsers out; config.local.php counts more. */
function onhand_read_x_cart_5($folder)
{
    $found = array();
    foreach (array('config.default.php', 'config.php', 'config.local.php') as $file) {
        $parsed = is_file("$folder/etc/$file") ? @parse_ini_file("$folder/etc/$file", true, INI_SCANNER_RAW) : false;
        if (is_array($parsed) && isset($parsed['database_details'])) {
            foreach ($parsed['database_details'] as $name => $value) {
                if ($value !== '') {
                    $found[$name] = trim($value, '"\'');
                }
            }
        }
    }
    $access = array('password' => '');
    $names = array('hostspec' => 'host', 'username' => 'user', 'password' => 'password', 'database' => 'name', 'socket' => 'socket', 'port' => 'port', 'table_prefix' => 'prefix');
    foreach ($names as $theirs => $ours) {
        if (isset($found[$theirs])) {
            $access[$ours] = $found[$theirs];
        }
    }
    return $access;
}

/** What both have in common: where the statements come from, and what SETI is told of people and money. */
abstract class OnhandXCartShop
{
    public $database;
    public $prefix;
    public $family = 'x-cart';
    public $version;
    public $sources;
    protected $settings;

    public function __construct($database, $prefix, $settings)
    {
        $this->database = $database;
        $this->prefix = $prefix;
        $this->settings = $settings;
        $this->find();
    }

    abstract protected function find();

    protected function heads($rows)
    {
        $heads = array();
        foreach ($rows as $row) {
            $heads[] = array(
                'id' => $row['id'],
                'age' => (int) $row['age'],
                'zoned' => false,
                'told' => (bool) $row['told'],
                'whole' => onhand_adds_up($row['line_count'], $row['subtotal'], $row['net'], $row['net']),
                'keys' => $row['skus'] === null ? array() : array_map('onhand_clean', explode("\n", $row['skus'])),
                'fingerprint' => sha1($row['status'] . '|' . $row['line_count'] . '|' . $row['line_sum']),
            );
        }
        return $heads;
    }

    protected function with_lines($orders, $rows)
    {
        foreach ($rows as $row) {
            if (isset($orders[(int) $row['order_id']])) {
                $orders[(int) $row['order_id']]['lines'][] = array(
                    'line' => (string) $row['line'],
                    'key' => onhand_line_key($row['sku'], $row['product_id']),
                    'quantity' => onhand_line_pieces($row['quantity']),
                    'title' => onhand_clean($row['title']),
                );
            }
        }
        return $orders;
    }
}

class OnhandXCart4Shop extends OnhandXCartShop
{
    private static $letters = array('I' => 'Not finished', 'Q' => 'Queued', 'A' => 'Pre-authorized', 'P' => 'Processed', 'B' => 'Backordered',
        'D' => 'Declined', 'F' => 'Failed', 'C' => 'Complete');

    protected function find()
    {
        $p = $this->prefix;
        $row = $this->database->one("SELECT value FROM {$p}config WHERE name = 'version'");
        $this->version = 'X-Cart ' . ($row === null ? '4' : $row['value']);
        $columns = $this->database->one(
            "SELECT COUNT(*) AS found FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND COLUMN_NAME = 'is_product_row'",
            array($p . 'variants')
        );
        // Later versions keep a row for the product itself among its variants.
        $own = (int) $columns['found'] > 0 ? ' AND is_product_row = 0' : '';
        $this->sources = array(
            array(
                'name' => 'product',
                'table' => $p . 'products',
                'id' => 'productid',
                'sku' => 'productcode',
                'quantity' => 'avail',
                'shown' => 'forsale',
                'shown_value' => 'Y',
                'hidden_value' => 'N',
                // The stock of a product with variants is that of its variants.
                'select' => "SELECT productid AS id, productcode AS sku, avail AS quantity FROM {$p}products
                    WHERE productid NOT IN (SELECT productid FROM {$p}variants WHERE 1 = 1$own)",
            ),
            array(
                'name' => 'variant',
                'table' => $p . 'variants',
                'id' => 'variantid',
                'sku' => 'productcode',
                'quantity' => 'avail',
                'select' => "SELECT variantid AS id, productcode AS sku, avail AS quantity FROM {$p}variants WHERE 1 = 1$own",
            ),
        );
    }

    public function notes()
    {
        $notes = array();
        $row = $this->database->one("SELECT value FROM {$this->prefix}config WHERE name = 'unlimited_products'");
        if ($row !== null && $row['value'] === 'Y') {
            $notes[] = 'The shop does not keep stock ("Disable stock control" is on), so its own sales take nothing from it.';
        }
        $hidden = $this->database->one("SELECT COUNT(*) AS items FROM {$this->prefix}products WHERE forsale = 'N' AND avail > 0");
        if ((int) $hidden['items'] > 0) {
            $notes[] = (int) $hidden['items'] . ' products are not for sale although they have stock.';
        }
        return $notes;
    }

    public function first_watched_order()
    {
        $row = $this->database->one(
            "SELECT COALESCE(MIN(orderid), 0) AS id FROM {$this->prefix}orders WHERE `date` >= UNIX_TIMESTAMP() - ?",
            array(86400 * (int) $this->settings['watch_days'])
        );
        return (int) $row['id'];
    }

    /** An order shows its lines before the shop takes their pieces. X: a payment page was opened, nothing was taken yet. */
    public function order_heads($from)
    {
        $p = $this->prefix;
        return $this->heads($this->database->rows(
            "SELECT o.orderid AS id, o.status AS status, UNIX_TIMESTAMP() - o.`date` AS age, o.status <> 'X' AS told, o.subtotal AS subtotal,
                    COUNT(d.itemid) AS line_count, SUM(d.price * d.amount) AS net,
                    COALESCE(SUM(CRC32(CONCAT_WS('|', d.itemid, d.productcode, d.amount))), 0) AS line_sum,
                    GROUP_CONCAT(DISTINCT d.productcode SEPARATOR '\\n') AS skus
               FROM {$p}orders o LEFT JOIN {$p}order_details d ON d.orderid = o.orderid
              WHERE o.orderid >= ? GROUP BY o.orderid, o.status, o.`date`, o.subtotal ORDER BY o.orderid",
            array($from)
        ));
    }

    public function orders($ids)
    {
        if (count($ids) === 0) {
            return array();
        }
        $p = $this->prefix;
        $orders = array();
        $cancelled = count($this->settings['cancelled_statuses']) > 0 ? $this->settings['cancelled_statuses'] : array('D', 'F');
        $shipped = count($this->settings['shipped_statuses']) > 0 ? $this->settings['shipped_statuses'] : array('C');
        foreach ($this->database->rows("SELECT orderid AS id, status, `date` AS placed FROM {$p}orders WHERE orderid IN (?)", array($ids)) as $row) {
            $orders[(int) $row['id']] = array(
                'number' => (string) $row['id'],
                'placedAt' => onhand_moment($row['placed']),
                'state' => in_array($row['status'], $cancelled, true) ? 'cancelled' : (in_array($row['status'], $shipped, true) ? 'shipped' : 'open'),
                'lines' => array(),
            );
        }
        return $this->with_lines($orders, $this->database->rows(
            "SELECT orderid AS order_id, itemid AS line, productid AS product_id, productcode AS sku, product AS title, amount AS quantity
               FROM {$p}order_details WHERE orderid IN (?) ORDER BY itemid",
            array($ids)
        ));
    }

    public function status_names()
    {
        return self::$letters;
    }

    /** The letter alone; what the shop does besides (mails, stock of declined orders) is left to its own pages. */
    public function set_order_status($number, $status)
    {
        if ($status === 'D' || $status === 'F') {
            throw new OnhandRefusal(400, 'Decline an order in the shop itself: it has to take its pieces back.');
        }
        $this->database->run("UPDATE {$this->prefix}orders SET status = ? WHERE orderid = ?", array($status, (int) $number));
    }

    public function order_details($ids)
    {
        $p = $this->prefix;
        $details = array();
        foreach ($this->database->rows("SELECT * FROM {$p}orders WHERE orderid IN (?)", array($ids)) as $row) {
            $details[(int) $row['orderid']] = array(
                'billing' => $this->address($row, 'b_'),
                'shipping' => $this->address($row, 's_'),
                'payment' => $row['payment_method'],
                'customer' => isset($row['userid']) ? $row['userid'] : '',
                'comment' => $row['customer_notes'],
                'prices' => array(),
                'totals' => array('products' => (float) $row['subtotal'], 'tax' => (float) $row['tax'], 'shipping' => (float) $row['shipping_cost'],
                    'grand' => (float) $row['total']),
            );
        }
        foreach ($this->database->rows("SELECT orderid, itemid, price FROM {$p}order_details WHERE orderid IN (?)", array($ids)) as $row) {
            $details[(int) $row['orderid']]['prices'][$row['itemid']] = (float) $row['price'];
        }
        return $details;
    }

    private function address($row, $kind)
    {
        return array(
            'name' => trim($row[$kind . 'firstname'] . ' ' . $row[$kind . 'lastname']),
            'company' => $row['company'],
            'street' => $row[$kind . 'address'],
            'street2' => '',
            'city' => $row[$kind . 'city'],
            'state' => $row[$kind . 'state'],
            'code' => $row[$kind . 'zipcode'],
            'country' => $row[$kind . 'country'],
            'phone' => isset($row[$kind . 'phone']) ? $row[$kind . 'phone'] : (isset($row['phone']) ? $row['phone'] : ''),
            'email' => $row['email'],
        );
    }

    public function product_details($ids)
    {
        $p = $this->prefix;
        $found = array();
        foreach ($this->database->rows("SELECT productid AS id, productcode AS name, list_price AS price, weight, forsale <> 'N' AS shown FROM {$p}products WHERE productid IN (?)", array($ids)) as $row) {
            $found['0:' . $row['id']] = $row;
        }
        return $found;
    }

    public function count_customers()
    {
        $row = $this->database->one("SELECT COUNT(*) AS customers FROM {$this->prefix}customers WHERE usertype = 'C'");
        return (int) $row['customers'];
    }

    public function customers($offset, $count)
    {
        $customers = array();
        foreach ($this->database->rows(
            "SELECT id, firstname, lastname, email, company FROM {$this->prefix}customers WHERE usertype = 'C' ORDER BY id LIMIT ?, ?",
            array($offset, $count)
        ) as $row) {
            $customers[] = $row + array('name' => trim($row['firstname'] . ' ' . $row['lastname']), 'phone' => '', 'street' => '', 'street2' => '',
                'city' => '', 'state' => '', 'code' => '', 'country' => '');
        }
        return $customers;
    }
}

/** By its published tables; not tried on a running shop. */
class OnhandXCart5Shop extends OnhandXCartShop
{
    protected function find()
    {
        $p = $this->prefix;
        $this->version = 'X-Cart 5';
        $this->sources = array(array(
            'name' => 'product',
            'table' => $p . 'products',
            'id' => 'product_id',
            'sku' => 'sku',
            'quantity' => 'amount',
            'shown' => 'enabled',
            'shown_value' => 1,
            'hidden_value' => 0,
            'select' => "SELECT product_id AS id, sku, amount AS quantity, inventoryEnabled AS tracked FROM {$p}products WHERE 1 = 1",
        ));
        $variants = $this->database->one(
            'SELECT COUNT(*) AS found FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?',
            array($p . 'product_variants')
        );
        if ((int) $variants['found'] > 0) {
            $this->sources[] = array(
                'name' => 'variant',
                'table' => $p . 'product_variants',
                'id' => 'id',
                'sku' => 'sku',
                'quantity' => 'amount',
                // A variant with the default amount has no stock of its own.
                'select' => "SELECT id, sku, amount AS quantity, 1 AS tracked FROM {$p}product_variants WHERE defaultAmount = 0",
            );
        }
    }

    public function notes()
    {
        return array('X-Cart 5 lowers a quantity to 0 at most when it sells: set "lowers to zero at most" for this cart.');
    }

    public function first_watched_order()
    {
        $row = $this->database->one(
            "SELECT COALESCE(MIN(order_id), 0) AS id FROM {$this->prefix}orders WHERE `date` >= UNIX_TIMESTAMP() - ?",
            array(86400 * (int) $this->settings['watch_days'])
        );
        return (int) $row['id'];
    }

    public function order_heads($from)
    {
        $p = $this->prefix;
        return $this->heads($this->database->rows(
            "SELECT o.order_id AS id, CONCAT_WS('/', o.payment_status_id, o.shipping_status_id) AS status, UNIX_TIMESTAMP() - o.`date` AS age,
                    (o.is_order = 1 AND o.orderNumber IS NOT NULL) AS told, o.subtotal AS subtotal,
                    COUNT(i.item_id) AS line_count, SUM(i.price * i.amount) AS net,
                    COALESCE(SUM(CRC32(CONCAT_WS('|', i.item_id, i.sku, i.amount))), 0) AS line_sum, GROUP_CONCAT(DISTINCT i.sku SEPARATOR '\\n') AS skus
               FROM {$p}orders o LEFT JOIN {$p}order_items i ON i.order_id = o.order_id
              WHERE o.order_id >= ?
              GROUP BY o.order_id, o.payment_status_id, o.shipping_status_id, o.`date`, o.is_order, o.orderNumber, o.subtotal ORDER BY o.order_id",
            array($from)
        ));
    }

    public function orders($ids)
    {
        if (count($ids) === 0) {
            return array();
        }
        $p = $this->prefix;
        $orders = array();
        foreach ($this->database->rows(
            "SELECT o.order_id AS id, o.orderNumber AS number, o.`date` AS placed, ps.code AS payment, ss.code AS shipping
               FROM {$p}orders o LEFT JOIN {$p}order_payment_statuses ps ON ps.id = o.payment_status_id
               LEFT JOIN {$p}order_shipping_statuses ss ON ss.id = o.shipping_status_id WHERE o.order_id IN (?)",
            array($ids)
        ) as $row) {
            $cancelled = in_array($row['payment'], array('C', 'D'), true);
            $orders[(int) $row['id']] = array(
                'number' => (string) $row['number'],
                'placedAt' => onhand_moment($row['placed']),
                'state' => $cancelled ? 'cancelled' : (in_array($row['shipping'], array('S', 'D'), true) ? 'shipped' : 'open'),
                'lines' => array(),
            );
        }
        return $this->with_lines($orders, $this->database->rows(
            "SELECT order_id, item_id AS line, object_id AS product_id, sku, name AS title, amount AS quantity
               FROM {$p}order_items WHERE order_id IN (?) ORDER BY item_id",
            array($ids)
        ));
    }

    public function status_names()
    {
        return array();
    }

    public function set_order_status($number, $status)
    {
        throw new OnhandRefusal(400, 'Change the status of an order in the shop itself.');
    }

    public function order_details($ids)
    {
        throw new OnhandRefusal(400, 'Orders of X-Cart 5 are told to Onhand only, not over SETI.');
    }

    public function product_details($ids)
    {
        return array();
    }

    public function count_customers()
    {
        return 0;
    }

    public function customers($offset, $count)
    {
        return array();
    }
}

/**
 * The Stone Edge shopping-cart script protocol (SETI), as Order Manager speaks it: form fields in, plain text and XML out.
 * It has no keys, so a repeated `invupdate` is a second change; Onhand itself uses the signed calls instead.
 * @return array type and body
 */
function onhand_seti($settings, $form)
{
    $name = isset($form['setifunction']) && is_string($form['setifunction']) ? strtolower($form['setifunction']) : '';
    if ($name === 'sendversion') {
        return onhand_seti_text('SETIResponse: version=' . ONHAND_BRIDGE_VERSION);
    }
    if (!onhand_seti_login($settings, $form)) {
        return onhand_seti_text('SETIError: Access denied. Please check your login and store code (if provided).');
    }
    $shop = onhand_open_shop($settings);
    switch ($name) {
        case 'ordercount':
            return onhand_seti_text('SETIResponse: ordercount=' . count(onhand_seti_order_ids($shop, $form)));
        case 'getproductscount':
            return onhand_seti_text('SETIResponse: itemcount=' . onhand_seti_count_products($shop));
        case 'getcustomerscount':
            return onhand_seti_text('SETIResponse: itemcount=' . $shop->count_customers());
        case 'downloadorders':
            return onhand_seti_orders($shop, $form);
        case 'downloadcustomers':
            return onhand_seti_customers($shop, $form);
        case 'downloadprods':
        case 'downloadqoh':
            return onhand_seti_products($shop, $form, $name === 'downloadprods');
        case 'invupdate':
            return onhand_seti_update($shop, onhand_seti_field($form, 'update'));
        case 'qohreplace':
            return onhand_seti_replace($shop, onhand_seti_field($form, 'update'));
        case 'updatestatus':
            return onhand_seti_status($shop, $form);
        default:
            return onhand_seti_text('SETIError: Function was not found.');
    }
}

/** Every field is compared, so that the time says nothing about which one was wrong. */
function onhand_seti_login($settings, $form)
{
    $password = (string) $settings['seti_password'];
    $fits = hash_equals(hash('sha256', (string) $settings['seti_user']), hash('sha256', onhand_seti_field($form, 'setiuser')));
    $fits = hash_equals(hash('sha256', $password), hash('sha256', onhand_seti_field($form, 'password'))) && $fits;
    $fits = hash_equals(hash('sha256', (string) $settings['seti_code']), hash('sha256', onhand_seti_field($form, 'code'))) && $fits;
    return $fits && $settings['seti_user'] !== '' && $password !== '';
}

function onhand_seti_field($form, $name)
{
    return isset($form[$name]) && is_string($form[$name]) ? $form[$name] : '';
}

/** `SKU~-3`. A SKU may hold a ~ itself, so the last one splits. @return array SKU and number, or null */
function onhand_seti_pair($text)
{
    return preg_match('/^(.+)~([+-]?\d{1,10})(?:\.0+)?\s*$/sD', $text, $parts) ? array($parts[1], (int) $parts[2]) : null;
}

/** One line, carried out under a key that nobody will ever use again. */
function onhand_seti_change($shop, $lines)
{
    $id = bin2hex(function_exists('random_bytes') ? random_bytes(16) : openssl_random_pseudo_bytes(16));
    $answer = json_decode(onhand_change_stock($shop, 'seti ' . $id, hash('sha256', $id), $lines), true);
    return $answer['lines'];
}

function onhand_seti_update($shop, $update)
{
    $pair = onhand_seti_pair(rtrim($update, "|\r\n"));
    if ($pair === null) {
        return onhand_seti_text('SETIError: Invalid update command.');
    }
    list($sku, $delta) = $pair;
    $line = array('key' => $sku, 'delta' => $delta, 'target' => null, 'from' => null, 'visibility' => null);
    $answers = onhand_seti_change($shop, array($line));
    $answer = $answers[0];
    switch ($answer['status']) {
        case 'applied':
            return onhand_seti_text("SETIResponse=OK;SKU=$sku;QOH={$answer['quantity']};NOTE=");
        case 'not-found':
            return onhand_seti_text("SETIResponse=False;SKU=$sku;QOH=NF;NOTE=NotFound");
        case 'not-tracked':
            return onhand_seti_text("SETIResponse=False;SKU=$sku;QOH=NA;NOTE=NotTracked");
        default:
            return onhand_seti_text("SETIResponse=False;SKU=$sku;QOH=NA;NOTE=Error: {$answer['message']}");
    }
}

function onhand_seti_replace($shop, $update)
{
    $told = array();
    $lines = array();
    foreach (preg_split('/\|[\r\n]*/', $update, -1, PREG_SPLIT_NO_EMPTY) as $text) {
        $pair = onhand_seti_pair($text);
        $sku = $pair === null ? $text : $pair[0];
        if ($pair !== null && !isset($lines[$sku])) {
            $lines[$sku] = array('key' => $sku, 'delta' => null, 'target' => $pair[1], 'from' => null, 'visibility' => null);
        }
        $told[$sku] = 'Err';
    }
    $words = array('applied' => 'OK', 'not-found' => 'NF', 'not-tracked' => 'NA');
    foreach (array_chunk(array_values($lines), ONHAND_LINES_MAX) as $some) {
        foreach (onhand_seti_change($shop, $some) as $answer) {
            $told[$answer['key']] = isset($words[$answer['status']]) ? $words[$answer['status']] : 'Err';
        }
    }
    $text = 'SETIResponse';
    foreach ($told as $sku => $word) {
        $text .= "\r\n" . $sku . '=' . $word;
    }
    return onhand_seti_text($text . "\r\nSETIEndOfData\r\n");
}

/** Items that have a SKU of their own; doubled and empty ones cannot be told apart here. */
function onhand_seti_items($shop)
{
    return 'SELECT MIN(x.source) AS source, MIN(x.id) AS id, MIN(x.sku) AS sku, MIN(x.quantity) AS quantity FROM (' . onhand_all_items($shop) . ") AS x
        WHERE x.sku IS NOT NULL AND x.sku <> '' AND CAST(x.sku AS BINARY) = CAST(TRIM(x.sku) AS BINARY)
        GROUP BY CAST(x.sku AS BINARY) HAVING COUNT(*) = 1";
}

function onhand_seti_count_products($shop)
{
    $row = $shop->database->one('SELECT COUNT(*) AS items FROM (' . onhand_seti_items($shop) . ') AS y');
    return (int) $row['items'];
}

function onhand_seti_page($form)
{
    $first = max(1, (int) onhand_seti_field($form, 'startnum'));
    $size = (int) onhand_seti_field($form, 'batchsize');
    return array($first - 1, $size > 0 ? min($size, 1000) : 100);
}

function onhand_seti_products($shop, $form, $whole)
{
    $rows = $shop->database->rows(onhand_seti_items($shop) . ' ORDER BY source, id LIMIT ?, ?', onhand_seti_page($form));
    $details = array();
    if ($whole) {
        $ids = array();
        foreach ($rows as $row) {
            $ids[] = (int) $row['id'];
        }
        $details = count($ids) > 0 ? $shop->product_details($ids) : array();
    }
    $text = '';
    foreach ($rows as $row) {
        $place = $row['source'] . ':' . $row['id'];
        $more = '';
        if (isset($details[$place])) {
            $more = onhand_tag('Name', $details[$place]['name']) . onhand_tag('Price', (float) $details[$place]['price'])
                . onhand_tag('Weight', (float) $details[$place]['weight']) . onhand_tag('Discontinued', $details[$place]['shown'] ? 'No' : 'Yes');
        }
        $pieces = onhand_pieces($row['quantity']);
        $text .= '<Product>' . onhand_tag('Code', $row['sku']) . onhand_tag('WebID', $row['id']) . $more
            . onhand_tag('QOH', $pieces === null ? 'NA' : $pieces) . "</Product>\n";
    }
    return onhand_seti_xml('SETIProducts', $text);
}

/**
 * Numbers of the orders after `lastorder` and since `lastdate`. An order that the shop is still writing, and all after it,
 * wait: whoever asks goes on behind the highest number and would never see the rest of it.
 */
function onhand_seti_order_ids($shop, $form)
{
    $last = onhand_seti_field($form, 'lastorder');
    $after = $last === '' || strcasecmp($last, 'all') === 0 ? 0 : (int) $last;
    $date = onhand_seti_field($form, 'lastdate');
    $since = $date === '' || strcasecmp($date, 'all') === 0 ? false : strtotime(str_replace('/', '-', $date) . ' UTC');
    $ids = array();
    foreach ($shop->order_heads($after + 1) as $head) {
        $age = onhand_age($head['age'], 0, 0);
        if ($age < ONHAND_SETTLE_S && !$head['whole']) {
            break;
        }
        if ($head['told'] && ($since === false || time() - $age >= $since)) {
            $ids[] = (int) $head['id'];
        }
    }
    return $ids;
}

function onhand_seti_orders($shop, $form)
{
    list($first, $size) = onhand_seti_page($form);
    $ids = array_slice(onhand_seti_order_ids($shop, $form), $first, $size);
    $text = '';
    if (count($ids) > 0) {
        $orders = $shop->orders($ids);
        $details = $shop->order_details($ids);
        foreach ($ids as $id) {
            if (isset($orders[$id], $details[$id])) {
                $text .= onhand_seti_order($orders[$id], $details[$id]);
            }
        }
    }
    return onhand_seti_xml('SETIOrders', $text);
}

function onhand_seti_order($order, $details)
{
    $products = '';
    foreach ($order['lines'] as $line) {
        $price = isset($details['prices'][$line['line']]) ? $details['prices'][$line['line']] : 0;
        $products .= '<Product>' . onhand_tag('SKU', $line['key']) . onhand_tag('Name', $line['title']) . onhand_tag('Quantity', $line['quantity'])
            . onhand_tag('ItemPrice', $price) . onhand_tag('LineID', $line['line']) . onhand_tag('Total', $price * $line['quantity']) . '</Product>';
    }
    $placed = $order['placedAt'] === null ? '' : gmdate('d-M-Y h:i:s A', strtotime($order['placedAt']));
    $totals = '';
    foreach (array('products' => 'ProductTotal', 'tax' => 'Tax', 'grand' => 'GrandTotal', 'shipping' => 'ShippingTotal') as $kind => $name) {
        if (isset($details['totals'][$kind])) {
            $value = $details['totals'][$kind];
            $inner = array('tax' => 'TaxAmount', 'shipping' => 'Total');
            $totals .= isset($inner[$kind]) ? "<$name>" . onhand_tag($inner[$kind], $value) . "</$name>" : onhand_tag($name, $value);
        }
    }
    return '<Order>' . onhand_tag('OrderNumber', $order['number']) . onhand_tag('OrderDate', $placed) . onhand_tag('OrderStatus', $order['state'])
        . '<Billing>' . onhand_seti_address($details['billing']) . '</Billing>'
        . '<Shipping>' . onhand_seti_address($details['shipping']) . $products . '</Shipping>'
        . '<Payment><Generic1>' . onhand_tag('Name', $details['payment']) . '</Generic1></Payment>'
        . '<Totals>' . $totals . '</Totals>'
        . '<Other>' . onhand_tag('Comments', $details['comment']) . onhand_tag('WebCustomerID', $details['customer']) . "</Other></Order>\n";
}

function onhand_seti_address($address)
{
    return onhand_tag('FullName', $address['name']) . onhand_tag('Company', $address['company']) . onhand_tag('Phone', $address['phone'])
        . onhand_tag('Email', $address['email']) . '<Address>' . onhand_tag('Street1', $address['street']) . onhand_tag('Street2', $address['street2'])
        . onhand_tag('City', $address['city']) . onhand_tag('State', $address['state']) . onhand_tag('Code', $address['code'])
        . onhand_tag('Country', $address['country']) . '</Address>';
}

function onhand_seti_customers($shop, $form)
{
    list($first, $size) = onhand_seti_page($form);
    $text = '';
    foreach ($shop->customers($first, $size) as $customer) {
        $text .= '<Customer>' . onhand_tag('WebID', $customer['id']) . '<BillAddr>' . onhand_seti_address($customer) . "</BillAddr></Customer>\n";
    }
    return onhand_seti_xml('SETICustomers', $text);
}

function onhand_seti_status($shop, $form)
{
    $number = onhand_seti_field($form, 'ordernumber');
    $wanted = strtolower(trim(onhand_seti_field($form, 'orderstatus')));
    $known = preg_match('/^\d{1,10}$/D', $number) ? $shop->orders(array((int) $number)) : array();
    if (!isset($known[(int) $number])) {
        return onhand_seti_text('SETIError: Order was not found.');
    }
    foreach ($shop->status_names() as $status => $name) {
        if (strtolower(trim($name)) === $wanted) {
            $shop->set_order_status($number, $status);
            return onhand_seti_text('SETIResponse: update=OK;Notes=');
        }
    }
    return onhand_seti_text('SETIError: The shop has no order status of that name.');
}

function onhand_tag($name, $value)
{
    return "<$name>" . htmlspecialchars(onhand_clean((string) $value), ENT_NOQUOTES | ENT_SUBSTITUTE, 'UTF-8') . "</$name>";
}

function onhand_seti_text($text)
{
    return array('type' => 'text/plain; charset=utf-8', 'body' => $text);
}

function onhand_seti_xml($root, $rows)
{
    $code = $rows === '' ? 2 : 1;
    return array(
        'type' => 'text/xml; charset=utf-8',
        'body' => "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<$root><Response><ResponseCode>$code</ResponseCode>"
            . "<ResponseDescription>Success</ResponseDescription></Response>\n$rows</$root>\n",
    );
}

/**
 * What a browser sees. Before there is a secret it offers a fresh one, new at each visit and kept nowhere: whoever else
 * opens the page learns nothing. Afterwards it shows nothing of the shop.
 */
function onhand_page($settings)
{
    if (!empty($settings['uninstall'])) {
        $shop = onhand_open_shop($settings);
        onhand_drop_tables($shop);
        return onhand_html('Removed', '<p>The bridge\'s own tables are gone; the shop\'s are as they were. Now delete this file from the server.</p>');
    }
    if (onhand_secret_bytes($settings) !== null) {
        return onhand_html('Ready', '<p>The bridge is set up. Add the shop in Onhand with the address of this page and the code that you put into'
            . ' this file, and test the connection there.</p>');
    }
    try {
        onhand_make_tables(onhand_open_shop($settings));
        $state = '<p>The shop\'s database was found, and the bridge made its own small tables in it.</p>';
    } catch (OnhandRefusal $refusal) {
        $state = '<p class="bad">' . htmlspecialchars($refusal->getMessage(), ENT_QUOTES, 'UTF-8') . '</p>';
    } catch (OnhandDatabaseError $error) {
        $state = '<p class="bad">' . htmlspecialchars($error->forCaller(), ENT_QUOTES, 'UTF-8') . '</p>';
    }
    $random = function_exists('random_bytes') ? random_bytes(32) : openssl_random_pseudo_bytes(32);
    $code = 'whsec_' . base64_encode($random);
    return onhand_html('One step is left', $state
        . '<ol><li>Copy this code: <code>' . $code . '</code></li>'
        . '<li>Open this file in an editor, put the code between the quotes of <code>\'secret\' => \'\'</code> near its top, and upload it again.</li>'
        . '<li>In Onhand, add the shop with the address of this page and the same code.</li></ol>'
        . '<p>The code is new at each visit and is not kept anywhere: only the one that you put into the file counts.</p>');
}

function onhand_html($title, $text)
{
    return '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="robots" content="noindex"><meta name="viewport" content="width=device-width">'
        . '<title>Onhand bridge</title><style>body{font:16px/1.5 sans-serif;max-width:42em;margin:3em auto;padding:0 1em}code{background:#eee;'
        . 'padding:.1em .3em;overflow-wrap:anywhere}.bad{color:#a00}</style></head><body><h1>Onhand bridge: ' . $title . '</h1>' . $text . '</body></html>';
}

$onhand_answered = false;
register_shutdown_function('onhand_shutdown');
onhand_main($onhand_settings);
