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

$onhand_answered = false;
register_shutdown_function('onhand_shutdown');
onhand_main($onhand_settings);

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
