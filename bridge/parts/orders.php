
define('ONHAND_ORDERS_MAX', 200);
/* An order younger than this may still be in the middle of the shop's checkout, which writes without transactions. */
define('ONHAND_SETTLE_S', 3);
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
    $last = $shop->database->one("SELECT value FROM $facts WHERE name = 'orders looked at' AND value + 0 > UNIX_TIMESTAMP() - ?", array(ONHAND_LOOK_S));
    $newest = $shop->database->one("SELECT MAX(order_id) AS id FROM $table");
    $whole = $last === null || $newest['id'] === null;
    $from = $whole ? $shop->first_watched_order() : max(0, (int) $newest['id'] - 50);
    $known = array();
    foreach ($shop->database->rows("SELECT order_id, fingerprint FROM $table WHERE order_id >= ?", array($from)) as $row) {
        $known[(int) $row['order_id']] = $row['fingerprint'];
    }
    $young = array('complete' => true, 'keys' => array());
    $different = array();
    foreach ($shop->order_heads($from) as $head) {
        if ($head['age'] < ONHAND_SETTLE_S) {
            $young['complete'] = $young['complete'] && $head['whole'];
            $young['keys'] += array_fill_keys($head['keys'], true);
        }
        $id = (int) $head['id'];
        if ($head['told'] && (!isset($known[$id]) || $known[$id] !== $head['fingerprint'])) {
            $different[$id] = $head['fingerprint'];
        }
    }
    ksort($different);
    $seq = count($different) > 0 ? onhand_next_seq($shop, $table) : 0;
    foreach ($different as $id => $fingerprint) {
        $shop->database->run(
            "INSERT INTO $table (order_id, fingerprint, seq) VALUES (?, ?, ?)
             ON DUPLICATE KEY UPDATE fingerprint = VALUES(fingerprint), seq = VALUES(seq)",
            array($id, $fingerprint, $seq++)
        );
    }
    if ($whole) {
        $shop->database->run(
            "INSERT INTO $facts (name, value) VALUES ('orders looked at', UNIX_TIMESTAMP()) ON DUPLICATE KEY UPDATE value = VALUES(value)"
        );
        $shop->database->run("DELETE FROM $table WHERE order_id < ?", array($from));
    }
    $young['keys'] = array_map('strval', array_keys($young['keys']));
    return $young;
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
