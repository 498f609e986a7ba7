
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
