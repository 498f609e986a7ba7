
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
